-- What follows ``--`` on the command line is posted.
init = function(args)
  if args[1] then
    wrk.method, wrk.body = "POST", args[1]
    wrk.headers["content-type"] = "application/json"
  end
end

-- Exact figures in place of wrk's rounded ones, in one line; microseconds.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration": %d, "errors": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
