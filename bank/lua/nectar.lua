-- The nectar service: points for those who pay, in whole points, each worth a penny.
--
-- A transfer of £25 or more whose tenth is covered by the sender's points spends them and pays that much back; another one
-- of £100 or more earns its tenth in points. Points are events on nectar-…, so that no two transfers spend the same ones.
bus:register("nectar")

local EARNS_FROM = 10000
local SPENDS_FROM = 2500

local function counted(sign)
  return function(event_type, key, correlation, data)
    local points = (redis:get(key) or { points = 0 }).points
    redis:set(key, { points = points + sign * data.points })
  end
end

bus:add_rebuild_handler("PointsEarned", counted(1))
bus:add_rebuild_handler("PointsSpent", counted(-1))
bus:invariant("no_points_are_owed", function(key, value) return value.points >= 0 end)

bus:add_event_listener("AcceptedTransaction", function(event_type, key, correlation, order)
  local purse = "nectar-" .. order.from
  local held = (redis:get(purse) or { points = 0 }).points
  local tenth = order.pence // 10
  local about = { transaction = key:sub(#"trans-" + 1), points = tenth }
  if order.pence >= SPENDS_FROM and held >= tenth then
    bus:send("PointsSpent", purse, false, correlation, about)
    bus:send("ConfirmedCredit", "acc-" .. order.from, true, correlation,
      { transaction = about.transaction, why = "cashback", pence = tenth })
  elseif order.pence >= EARNS_FROM then
    bus:send("PointsEarned", purse, false, correlation, about)
  end
end)

bus:add_route("/nectar/{account}", GET, function(method, route, args)
  local purse = redis:get("nectar-" .. args.account) or { points = 0 }
  return HTTP_OK, { account = args.account, points = purse.points }
end)
