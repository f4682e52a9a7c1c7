-- Written by somebody who had the table of the interface and nothing else: every row of it is used, the amounts are floats.
bus:register("ledger")

local function entered(sign)
  return function(event_type, key, correlation, data, timestamp)
    local account = redis:get(key)
    if account == nil then account = { balance = 0.0, entries = {} } end
    account.balance = account.balance + sign * data.amount
    table.insert(account.entries, { what = event_type, amount = data.amount, correlation = correlation, at = timestamp })
    redis:set(key, account)
    redis:set("latest", { key = key, number = redis:incr("entries") })
  end
end

local credited, debited = entered(1), entered(-1)
bus:add_event_listener("Credited", credited)
bus:add_rebuild_handler("Credited", credited)
bus:add_rebuild_handler("Debited", debited)
bus:add_event_listener("Debited", function(event_type, key, correlation, data, timestamp)
  debited(event_type, key, correlation, data, timestamp)
  log:trace("debited") log:debug({ key = key }) log:info(data) log:warn(timestamp) log:error(nil)
  -- An answer to what was handled: of the same correlation, without saying so.
  bus:send("Noted", "note-" .. data.id, true, nil, { integer = 1, float = 1.0, text = "1", list = { 1, 2.5 }, truth = true })
end)

bus:add_rebuild_handler("Closed", function(event_type, key)
  -- Nothing can be sent while the past is played.
  local sent = pcall(function() bus:send("Never", "never", true, nil, {}) end)
  redis:set("closed", { sent = sent, was_there = redis:get(key) ~= nil })
  redis:del(key)
end)

bus:add_receipt_listener("Debited", function(status, event_type, key, correlation, data)
  bus:send("Heard", "heard-" .. data.id, true, correlation, { status = status, type = event_type, key = key, amount = data.amount })
end)

bus:add_route("/account/{id}/credit", "POST", function(method, route, args, data)
  bus:send("Credited", args.id, true, data.correlation, { amount = data.amount })
  return HTTP_CREATED, { method = method, route = route }
end)

bus:add_route("/account/{id}/debit", "POST", function(method, route, args, data)
  local account = redis:get(args.id)
  if account == nil then return HTTP_NOT_FOUND end
  if account.balance < data.amount then
    return HTTP_PAYMENT_REQUIRED, { held = account.balance }
  end
  bus:send("Debited", args.id, false, nil, { id = data.id, amount = data.amount })
  return HTTP_ACCEPTED, { left = account.balance - data.amount }
end)

bus:add_route("/account/{id}/statement", "GET", function(method, route, args, data)
  local account = redis:get(args.id)
  if not account then return HTTP_NOT_FOUND, { error = "no such account" } end
  return HTTP_OK, { text = json.encode(account), account = json.decode(json.encode(account)), latest = redis:get("latest"),
    entries = redis:get("entries"), accounts = redis:keys("acc*"), one = redis:keys("acc?"), none = redis:keys("x*") }
end)

bus:add_route("/account/{id}", "DELETE", function(method, route, args)
  bus:send("Closed", args.id, false, nil, nil)
  return HTTP_NO_CONTENT
end)

bus:add_route("/closed", "GET", function() return HTTP_OK, redis:get("closed") end)

bus:add_route("/broken", "GET", function() return nil + 1 end)

bus:add_route("/named", "POST", function(method, route, args, names)
  local statuses = {}
  for _, name in ipairs(names) do statuses[name] = _G["HTTP_" .. name] end
  return HTTP_OK, statuses
end)
