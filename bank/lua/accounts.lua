-- The accounts service: opens accounts, decides transfers, takes deposits and withdrawals, tells balances.
--
-- A transfer's decision, its debit and its credit are one batch, on the balances that were read: either all of it stands in
-- the log, on these balances, or none.
local check = require "lib.check"

bus:register("accounts")

local ENTRIES_MAX = 20

bus:add_rebuild_handler("AccountCreationRequest", function(event_type, key)
  redis:set(key, { requested = true })
end)

bus:add_rebuild_handler("AccountCreated", function(event_type, key, correlation, data)
  if redis:get(key) then return end
  redis:set(key, { owner = data.user, name = data.name, balance = 0, entries = json.decode("[]"), entries_before = 0 })
end)

local function decided(event_type, key)
  redis:set(key, { decided = true })
end

bus:add_rebuild_handler("AcceptedTransaction", decided)
bus:add_rebuild_handler("RejectedTransaction", decided)

local function moved(direction, sign)
  return function(event_type, key, correlation, data)
    local account = redis:get(key)
    if not account or not check.pence(data.pence) then return end
    account.balance = account.balance + sign * data.pence
    if #account.entries == ENTRIES_MAX then
      table.remove(account.entries, 1)
      account.entries_before = account.entries_before + 1
    end
    table.insert(account.entries, { direction = direction, why = data.why, transaction = data.transaction,
      pence = data.pence, balance = account.balance })
    redis:set(key, account)
  end
end

bus:add_rebuild_handler("ConfirmedDebit", moved("debit", -1))
bus:add_rebuild_handler("ConfirmedCredit", moved("credit", 1))

bus:add_event_listener("AccountCreationRequest", function(event_type, key, correlation, data)
  local account = "acc-" .. data.account
  if redis:get(account) then return end
  bus:send("AccountCreated", account, false, correlation, { user = data.user, account = data.account, name = data.name })
end)

-- Why a transfer cannot happen; nothing if it can.
local function objection(order, from, to)
  if order.pence == 0 then return "no_money", "0 pence move nothing; use at least 1" end
  if order.from == order.to then
    return "self_transfer", "account " .. order.from .. " cannot pay itself; choose another recipient"
  end
  if not from then
    return "unknown_sender", "there is no account " .. order.from .. " to pay from; open it first"
  end
  if not to then
    return "unknown_recipient", "there is no account " .. order.to .. " to pay to; check the recipient"
  end
  if from.balance < order.pence then
    return "insufficient_funds", string.format("account %s holds %d pence, %d are needed; pay in the rest or send less",
      order.from, from.balance, order.pence)
  end
  if not check.fits(to.balance, order.pence) then
    return "balance_too_large", string.format("account %s holds %d pence and cannot take %d more; send less",
      order.to, to.balance, order.pence)
  end
end

bus:add_event_listener("PendingTransaction", function(event_type, key, correlation, order)
  if redis:get(key) then return end
  local sender, recipient = "acc-" .. order.from, "acc-" .. order.to
  local reason, message = objection(order, redis:get(sender), redis:get(recipient))
  if reason then
    bus:guard(sender)
    bus:guard(recipient)
    bus:send("RejectedTransaction", key, false, correlation, { reason = reason, message = message })
    return
  end
  local move = { transaction = key:sub(#"trans-" + 1), why = "transfer", pence = order.pence }
  bus:send("AcceptedTransaction", key, false, correlation, { from = order.from, to = order.to, pence = order.pence })
  bus:send("ConfirmedDebit", sender, false, correlation, move)
  bus:send("ConfirmedCredit", recipient, false, correlation, move)
end)

local function no_account(id)
  return check.refuse(HTTP_NOT_FOUND, "there is no account " .. id .. "; open it first")
end

bus:add_route("/accounts/{id}", GET, function(method, route, args)
  local account = redis:get("acc-" .. args.id)
  if not account then return no_account(args.id) end
  return HTTP_OK, { account = args.id, owner = account.owner, name = account.name, balance = account.balance }
end)

bus:add_route("/accounts/{id}/statement", GET, function(method, route, args)
  local account = redis:get("acc-" .. args.id)
  if not account then return no_account(args.id) end
  return HTTP_OK, { account = args.id, balance = account.balance, entries = account.entries,
    entries_before = account.entries_before }
end)

-- Moves money to or from the outside, once the balance allows it.
local function move(event_type, why, said, sign)
  return function(method, route, args, data)
    if not check.id(args.id) or not check.body(data, { "pence" }) or not check.pence(data.pence) then
      return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "send a whole number of pence of at least 1")
    end
    local key, pence = "acc-" .. args.id, data.pence
    local account = redis:get(key)
    if not account then
      if redis:get("creation-" .. args.id) then
        return check.refuse(HTTP_SERVICE_UNAVAILABLE, "account " .. args.id .. " is being opened; ask again")
      end
      return no_account(args.id)
    end
    local balance = account.balance + sign * pence
    if balance < 0 or not check.fits(account.balance, sign * pence) then
      return check.refuse(HTTP_CONFLICT,
        string.format("account %s holds %d pence, which does not allow to move %d", args.id, account.balance, pence))
    end
    bus:send(event_type, key, false, nil, { why = why, pence = pence, request = bus:idempotency_key() })
    return HTTP_OK, { account = args.id, [said] = pence, balance = balance }
  end
end

bus:add_route("/accounts/{id}/deposit", POST, move("ConfirmedCredit", "deposit", "deposited", 1))
bus:add_route("/accounts/{id}/withdraw", POST, move("ConfirmedDebit", "withdrawal", "withdrawn", -1))
