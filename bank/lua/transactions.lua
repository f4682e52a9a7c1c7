-- The transactions service: takes orders for transfers and tells what became of them. It decides nothing about money.
local check = require "lib.check"

bus:register("transactions")

bus:add_rebuild_handler("PendingTransaction", function(event_type, key, correlation, data)
  if redis:get(key) then return end
  redis:set(key, { from = data.from, to = data.to, pence = data.pence, reference = data.reference or "",
    status = "pending" })
end)

local function decided(status)
  return function(event_type, key, correlation, data)
    local transaction = redis:get(key)
    if not transaction or transaction.status ~= "pending" then return end
    transaction.status, transaction.reason, transaction.message = status, data.reason, data.message
    redis:set(key, transaction)
  end
end

bus:add_rebuild_handler("AcceptedTransaction", decided("accepted"))
bus:add_rebuild_handler("RejectedTransaction", decided("rejected"))

local function shown(id, transaction)
  transaction.transaction = id
  return transaction
end

bus:add_route("/transactions", POST, function(method, route, args, data)
  if not check.body(data, { "id", "from", "to", "pence", "reference?" })
    or not (check.id(data.id) and check.id(data.from) and check.id(data.to) and check.pence(data.pence)) then
    return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "send id, from, to and a whole number of pence of at least 1")
  end
  if data.from == data.to then
    return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "account " .. data.from .. " cannot pay itself")
  end
  local reference = data.reference or ""
  if not check.text(reference) then return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "the reference is too long") end
  local key = "trans-" .. data.id
  if redis:get(key) then
    return check.refuse(HTTP_CONFLICT, "transaction " .. data.id .. " exists already; choose another id")
  end
  bus:send("PendingTransaction", key, false, nil, { from = data.from, to = data.to, pence = data.pence,
    reference = reference, request = bus:idempotency_key() })
  return HTTP_ACCEPTED, shown(data.id, { from = data.from, to = data.to, pence = data.pence, reference = reference,
    status = "pending" })
end)

bus:add_route("/transactions/{id}", GET, function(method, route, args)
  local transaction = redis:get("trans-" .. args.id)
  if not transaction then return check.refuse(HTTP_NOT_FOUND, "there is no transaction " .. args.id) end
  return HTTP_OK, shown(args.id, transaction)
end)
