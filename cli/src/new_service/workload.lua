-- What customers do in a simulation, and what must hold whatever goes wrong meanwhile.

-- Called once for each seed; math.random is that seed's chance. Returns a list of requests.
bus:workload(function(customers, operations, seconds)
  local list = {}
  for place = 1, operations do
    local what = math.random(3) == 1 and "add" or "take"
    list[place] = {
      customer = math.random(0, customers - 1),
      at = math.random() * seconds,
      service = "NAME",
      method = "POST",
      path = "/shelves/" .. math.random(3) .. "/" .. what,
      body = { count = what == "add" and math.random(10) or math.random(5) },
    }
  end
  return list
end)

-- Sees every event in the order of the log. It adds up for itself, and does not trust the service.
local counts = {}
bus:invariant("no_shelf_is_below_zero", function(event)
  if event.type ~= "Added" and event.type ~= "Taken" then return true end
  local sign = event.type == "Added" and 1 or -1
  counts[event.key] = (counts[event.key] or 0) + sign * event.data.count
  if counts[event.key] < 0 then
    return false, event.key .. " holds " .. counts[event.key]
  end
  return true
end)
