-- The part of the sandbox that is easier said in Lua. It runs before any script and takes away what differs from run to
-- run: the order of `pairs`, addresses in texts, the order of equal elements in `table.sort`.
local host = ...
local error, getmetatable, type, select = error, getmetatable, type, select
local raw_pcall, raw_xpcall, raw_next, raw_tostring = pcall, xpcall, next, tostring
local raw_format, raw_resume, raw_close = string.format, coroutine.resume, coroutine.close
local unpack, pack = table.unpack, table.pack

-- What a script catches is its own error; the end of its means, or a state that must be fetched first, goes through.
local function passed_on(...)
  host.check()
  return ...
end

function pcall(f, ...) return passed_on(raw_pcall(f, ...)) end

function xpcall(f, handler, ...)
  return passed_on(raw_xpcall(f, function(...)
    host.check()
    return handler(...)
  end, ...))
end

function coroutine.resume(...) return passed_on(raw_resume(...)) end
function coroutine.close(...) return passed_on(raw_close(...)) end

local ranks = { number = 1, string = 2, boolean = 3 }

local function less(a, b)
  local kind_a, kind_b = type(a), type(b)
  if kind_a ~= kind_b then return ranks[kind_a] < ranks[kind_b] end
  if kind_a == "boolean" then return not a and b end
  return a < b
end

-- Sorts by merging, so that equal elements keep their order.
local function merge_sort(list, n, less)
  local from, to = list, {}
  local width = 1
  while width < n do
    local at = 1
    while at <= n do
      local left, middle, right = at, at + width, at + 2 * width
      if middle > n + 1 then middle = n + 1 end
      if right > n + 1 then right = n + 1 end
      local i, j = left, middle
      for place = left, right - 1 do
        if i < middle and (j >= right or not less(from[j], from[i])) then
          to[place] = from[i]
          i = i + 1
        else
          to[place] = from[j]
          j = j + 1
        end
      end
      at = right
    end
    from, to = to, from
    width = 2 * width
  end
  if from ~= list then
    for place = 1, n do list[place] = from[place] end
  end
end

function table.sort(list, order)
  if order ~= nil and type(order) ~= "function" then error("table.sort orders by a function", 2) end
  merge_sort(list, #list, order or function(a, b) return a < b end)
end

local function ordered_keys(t)
  local keys, n = {}, 0
  for key in raw_next, t do
    if not ranks[type(key)] then
      error("a table whose keys are tables or functions has no order to walk it in; use texts or numbers as keys", 3)
    end
    n = n + 1
    keys[n] = key
  end
  merge_sort(keys, n, less)
  return keys
end

function pairs(t)
  local metatable = getmetatable(t)
  if type(metatable) == "table" and metatable.__pairs then return metatable.__pairs(t) end
  local keys, at = ordered_keys(t), 0
  return function()
    while true do
      at = at + 1
      local key = keys[at]
      if key == nil then return nil end
      local value = t[key]
      if value ~= nil then return key, value end
    end
  end, t, nil
end

function next(t, after)
  local found
  for key in raw_next, t do
    if not ranks[type(key)] then
      error("a table whose keys are tables or functions has no order to walk it in; use texts or numbers as keys", 2)
    end
    if (after == nil or less(after, key)) and (found == nil or less(key, found)) then found = key end
  end
  if found ~= nil then return found, t[found] end
end

function tostring(value)
  local kind = type(value)
  if kind == "table" or kind == "userdata" then
    local metatable = getmetatable(value)
    if type(metatable) == "table" and metatable.__tostring then return raw_tostring(value) end
    return kind
  end
  if kind == "function" or kind == "thread" then return kind end
  return raw_tostring(value)
end

function string.format(form, ...)
  if form:find("%p", 1, true) then error("%p shows an address, which differs from run to run", 2) end
  local given = pack(...)
  for place = 1, given.n do
    local kind = type(given[place])
    if kind ~= "number" and kind ~= "string" and kind ~= "boolean" and kind ~= "nil" then
      given[place] = tostring(given[place])
    end
  end
  return raw_format(form, unpack(given, 1, given.n))
end

local raw_setmetatable = setmetatable
function setmetatable(t, metatable)
  if type(metatable) == "table" and metatable.__gc ~= nil then
    error("__gc would run at a moment that differs from run to run; leave it out", 2)
  end
  return raw_setmetatable(t, metatable)
end

-- Patterns are matched inside the interpreter, where nothing counts its steps: what they may cost is bounded before.
for _, name in ipairs({ "find", "match", "gmatch", "gsub" }) do
  local raw = string[name]
  string[name] = function(subject, pattern, ...)
    if not (name == "find" and select(2, ...) == true) then host.bound(subject, pattern) end
    return raw(subject, pattern, ...)
  end
end

function print(...)
  local given = pack(...)
  for place = 1, given.n do given[place] = tostring(given[place]) end
  log:info(table.concat(given, "\t"))
end

local function absent(name, instead)
  return function() error(name .. " is not there: " .. instead, 2) end
end

load = absent("load", "a script is what its file says; use functions")
dofile = absent("dofile", "use require for a file beside the script")
loadfile = absent("loadfile", "use require for a file beside the script")
loadstring = nil
collectgarbage = function() return 0 end
string.dump = nil
math.random, math.randomseed = host.random, host.randomseed
