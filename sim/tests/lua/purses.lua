-- A purse holds pence; whoever pays from it must have them. The right script, of which the planted ones differ in one thing.
bus:register("purses")

local function came(event_type, key, correlation, data)
  local purse = redis:get(key) or { pence = 0 }
  purse.pence = purse.pence + data.pence
  redis:set(key, purse)
end

local function went(event_type, key, correlation, data)
  local purse = redis:get(key) or { pence = 0 }
  purse.pence = purse.pence - data.pence
  redis:set(key, purse)
  redis:incr("payments")
end

bus:add_event_listener("PaidIn", came)
bus:add_rebuild_handler("PaidIn", came)
bus:add_event_listener("PaidOut", went)
bus:add_rebuild_handler("PaidOut", went)

bus:add_event_listener("PaymentAsked", function(event_type, key, correlation, data)
  local purse = redis:get(data.from) or { pence = 0 }
  if purse.pence < data.pence then
    bus:send("PaymentRefused", key, true, correlation, { held = purse.pence })
  else
    bus:send("PaidOut", data.from, false, correlation, { pence = data.pence })
  end
end)

-- Told of a payment that met newer ground: it is asked for again, and decided on that ground.
bus:add_receipt_listener("PaidOut", function(status, event_type, key, correlation, data)
  if status == "inconsistent" then
    bus:send("PaymentAsked", "again-" .. correlation, true, nil, { from = key, pence = data.pence })
  end
end)

bus:add_route("/purses/{id}/in", POST, function(method, route, args, data)
  bus:send("PaidIn", "purse-" .. args.id, true, nil, { pence = data.pence })
  return HTTP_OK, { paid_in = data.pence }
end)

bus:add_route("/purses/{id}/ask", POST, function(method, route, args, data)
  bus:send("PaymentAsked", "payment-" .. data.id, true, nil, { from = "purse-" .. args.id, pence = data.pence })
  return HTTP_ACCEPTED, { asked = data.pence }
end)

bus:add_route("/purses/{id}/out", POST, function(method, route, args, data)
  local purse = redis:get("purse-" .. args.id) or { pence = 0 }
  if purse.pence < data.pence then return HTTP_CONFLICT, { held = purse.pence } end
  bus:send("PaidOut", "purse-" .. args.id, false, nil, { pence = data.pence })
  return HTTP_OK, { paid_out = data.pence }
end)

bus:add_route("/purses/{id}", GET, function(method, route, args)
  local purse = redis:get("purse-" .. args.id)
  if not purse then return HTTP_NOT_FOUND, { error = "there is no such purse" } end
  return HTTP_OK, purse
end)
