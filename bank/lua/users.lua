-- The users service: creates users, takes their wishes for accounts, lists what they have.
--
-- It never writes on an account's key: it asks on creation-…, and the accounts service opens.
local check = require "lib.check"

bus:register("users")

bus:add_rebuild_handler("UserCreated", function(event_type, key, correlation, data)
  redis:set(key, { name = data.name })
end)

bus:add_rebuild_handler("AccountCreationRequest", function(event_type, key, correlation, data)
  redis:set(key, { user = data.user })
end)

-- A user's accounts are gathered over the keys of the accounts.
bus:add_rebuild_handler("AccountCreated", function(event_type, key, correlation, data)
  local place = "accounts of " .. data.user
  local accounts = redis:get(place) or {}
  accounts[data.account] = data.name
  redis:set(place, accounts)
end)

bus:add_route("/users", POST, function(method, route, args, data)
  if not check.body(data, { "id", "name" }) or not check.id(data.id) or not check.text(data.name) then
    return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "send an id and a name")
  end
  local key = "user-" .. data.id
  if redis:get(key) then
    return check.refuse(HTTP_CONFLICT, "user " .. data.id .. " exists already; choose another id")
  end
  bus:send("UserCreated", key, false, nil, { name = data.name, request = bus:idempotency_key() })
  return HTTP_CREATED, { user = data.id, name = data.name }
end)

local function no_user(id)
  return check.refuse(HTTP_NOT_FOUND, "there is no user " .. id .. "; create it first")
end

bus:add_route("/users/{id}", GET, function(method, route, args)
  local user = redis:get("user-" .. args.id)
  if not user then return no_user(args.id) end
  return HTTP_OK, { user = args.id, name = user.name }
end)

bus:add_route("/users/{id}/accounts", POST, function(method, route, args, data)
  if not check.id(args.id) or not check.body(data, { "account", "name?" }) or not check.id(data.account) then
    return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "send the account's id, and a name if you like")
  end
  local name = data.name or data.account
  if not check.text(name) then return check.refuse(HTTP_UNPROCESSABLE_ENTITY, "the name is too long") end
  if not redis:get("user-" .. args.id) then return no_user(args.id) end
  local key = "creation-" .. data.account
  if redis:get(key) then
    return check.refuse(HTTP_CONFLICT, "account " .. data.account .. " was asked for already; choose another id")
  end
  bus:guard("user-" .. args.id)
  bus:send("AccountCreationRequest", key, false, nil,
    { user = args.id, account = data.account, name = name, request = bus:idempotency_key() })
  return HTTP_ACCEPTED, { user = args.id, account = data.account, status = "requested" }
end)

bus:add_route("/users/{id}/accounts", GET, function(method, route, args)
  if not redis:get("user-" .. args.id) then return no_user(args.id) end
  local list = json.decode("[]")
  for account, name in pairs(redis:get("accounts of " .. args.id) or {}) do
    list[#list + 1] = { id = account, name = name }
  end
  return HTTP_OK, { user = args.id, accounts = list }
end)
