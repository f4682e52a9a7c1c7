-- What the bank's scripts ask of requests: names, texts and amounts that are right.
local check = {}

local PENCE_MAX = 1000000000000000
local TEXT_BYTES_MAX = 200

function check.id(id)
  return type(id) == "string" and #id <= 64 and id:match("^[%w%-_%.]+$") ~= nil
end

function check.text(text)
  return type(text) == "string" and #text <= TEXT_BYTES_MAX
end

function check.pence(pence)
  return math.type(pence) == "integer" and pence >= 1 and pence <= PENCE_MAX
end

-- Whether one account can take so much more.
function check.fits(balance, pence)
  return balance <= PENCE_MAX - pence
end

-- Whether a body is an object with these fields and no others; a field that may be missing ends with a question mark.
function check.body(data, fields)
  if type(data) ~= "table" then return false end
  local known = {}
  for _, field in ipairs(fields) do
    local name = field:gsub("%?$", "")
    known[name] = true
    if name == field and data[name] == nil then return false end
  end
  for name in pairs(data) do
    if not known[name] then return false end
  end
  return true
end

function check.refuse(status, sentence)
  return status, { error = sentence }
end

return check
