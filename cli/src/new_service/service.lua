-- The service NAME keeps a stock: things are added to a shelf and taken from it, and no shelf holds less than nothing.
bus:register("NAME")

-- What happens to a shelf when something came or went. The same function is listener and rebuild handler, so that the
-- state is the same whether it is reached live or made again from the log.
local function moved(event_type, key, correlation, data, timestamp)
  local shelf = redis:get(key) or { count = 0 }
  if event_type == "Added" then
    shelf.count = shelf.count + data.count
  else
    shelf.count = shelf.count - data.count
  end
  redis:set(key, shelf)
end

for _, event_type in ipairs({ "Added", "Taken" }) do
  bus:add_event_listener(event_type, moved)
  bus:add_rebuild_handler(event_type, moved)
end

local function count_of(data)
  return type(data) == "table" and math.type(data.count) == "integer" and data.count > 0 and data.count
end

bus:add_route("/shelves/{id}", GET, function(method, route, args, data)
  local shelf = redis:get("shelf-" .. args.id)
  if not shelf then return HTTP_NOT_FOUND, { error = "there is no such shelf; add something to it" } end
  return HTTP_OK, shelf
end)

bus:add_route("/shelves/{id}/add", POST, function(method, route, args, data)
  local count = count_of(data)
  if not count then return HTTP_BAD_REQUEST, { error = "send a count, such as {\"count\": 1}" } end
  -- true: whatever has happened to the shelf meanwhile, adding is right.
  bus:send("Added", "shelf-" .. args.id, true, nil, { count = count })
  return HTTP_OK, { added = count }
end)

bus:add_route("/shelves/{id}/take", POST, function(method, route, args, data)
  local count = count_of(data)
  if not count then return HTTP_BAD_REQUEST, { error = "send a count, such as {\"count\": 1}" } end
  local shelf = redis:get("shelf-" .. args.id) or { count = 0 }
  if shelf.count < count then return HTTP_CONFLICT, { error = "there is not enough", count = shelf.count } end
  -- false: only if the shelf is still as it was read above; else the bus refuses, and this function is run again.
  bus:send("Taken", "shelf-" .. args.id, false, nil, { count = count })
  return HTTP_OK, { taken = count }
end)
