-- Requests of a browser for wrk: each has a number in its query string, so that no two are the same.
--
--     wrk ... -s browser.lua URL -- REQUEST [BODY]
--
-- REQUEST is a file with the head of the request, @NUMBER@ in it; BODY one with its body.  The last line that is
-- printed is what came of it, as JSON; times are in microseconds.

local before, after
local number = 0
local again = {} -- what stands behind further @NUMBER@s

local function content(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

function init(args)
   before, after = content(args[1]):match("^(.-)@NUMBER@(.*)$")
   local here, behind = after:match("^(.-)@NUMBER@(.*)$")
   while here do
      after = here
      table.insert(again, behind)
      here, behind = behind:match("^(.-)@NUMBER@(.*)$")
   end
   if args[2] then
      if #again > 0 then
         again[#again] = again[#again] .. content(args[2])
      else
         after = after .. content(args[2])
      end
   end
end

function request()
   number = number + 1
   if #again == 0 then
      return before .. number .. after
   end
   return before .. number .. after .. number .. table.concat(again, number)
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "bytes": %d, "duration": %d, "p50": %d, "p99": %d, "errors": %d}\n',
      summary.requests, summary.bytes, summary.duration,
      latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.timeout + errors.status
   ))
end
