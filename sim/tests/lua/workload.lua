-- Customers who pay in and out of three purses.
bus:workload(function(customers, operations, seconds)
  local list = {}
  for place = 1, operations do
    local purse, pence = "/purses/" .. math.random(3), math.random(50)
    local what = ({ "in", "ask", "ask", "out", "out", "look" })[math.random(6)]
    list[place] = { customer = math.random(0, customers - 1), at = math.random() * seconds, service = "purses" }
    if what == "look" then
      list[place].method, list[place].path = "GET", purse
    else
      list[place].path, list[place].body = purse .. "/" .. what, { pence = pence, id = place }
    end
  end
  return list
end)

local held = {}
bus:invariant("no_purse_owes", function(event)
  if event.type ~= "PaidIn" and event.type ~= "PaidOut" then return true end
  local sign = event.type == "PaidIn" and 1 or -1
  held[event.key] = (held[event.key] or 0) + sign * event.data.pence
  return held[event.key] >= 0, event.key .. " holds " .. held[event.key] .. " pence"
end)
