-- `http-request lua.cidrgate URL` asks cidrgate's authorize endpoint whether a request may pass.
--
-- Read from the transaction: txn.account, whose request it is; txn.request_id, if there is one. Set: txn.cidrgate_allowed,
-- true if the answer was 200 and false in every other case, errors too; txn.cidrgate_reason, why, for the log: it
-- tells which accounts exist.
--
-- The client's address is that of the connection, as HAProxy sees it: after `accept-proxy`, or
-- `http-request set-src` from a header of a trusted proxy, it is the one these give.

local TIMEOUT = 1000 -- milliseconds without an answer

local function ask(txn, url)
    local answer = core.httpclient():get{
        url = url,
        timeout = TIMEOUT,
        headers = {
            ["x-account"] = { txn:get_var("txn.account") or "" },
            ["x-forwarded-for"] = { txn.f:src() },
            ["x-request-id"] = { txn:get_var("txn.request_id") or "" },
        },
    }
    local reasons = answer.headers and answer.headers["x-cidrgate-reason"]
    return answer.status == 200, reasons and reasons[0] or "unreachable"
end

core.register_action("cidrgate", { "http-req" }, function(txn, url)
    -- Denied until cidrgate has said otherwise: an error below leaves it so.
    txn:set_var("txn.cidrgate_allowed", false)
    txn:set_var("txn.cidrgate_reason", "error")
    local asked, allowed, reason = pcall(ask, txn, url)
    if asked then
        txn:set_var("txn.cidrgate_allowed", allowed)
        txn:set_var("txn.cidrgate_reason", reason)
    else
        core.Alert("cidrgate: " .. tostring(allowed))
    end
end, 1)

-- `filter lua.no-trailers` answers 400 to a request with trailers: fields that a client sends after a body. No rule sees
-- them, HAProxy before 3.2 cannot drop them, and a server may take them for headers, as uvicorn with httptools does.

local END = 1 -- byte, after a body that came in chunks

local NoTrailers = { id = "no-trailers", flags = filter.FLT_CFG_FL_HTX }
NoTrailers.__index = NoTrailers

function NoTrailers:new()
    return setmetatable({}, NoTrailers)
end

function NoTrailers:http_headers(txn, message)
    if not message:is_resp() then
        filter.register_data_filter(self, message.channel)
    end
end

function NoTrailers:http_payload(txn, message)
    -- The body is a part of what came. The rest is trailers, and they come together.
    local body = message:body() or ""
    if message:input() > #body + END then
        error("a request with trailers is refused")
    end
end

core.register_filter("no-trailers", NoTrailers, function(made) return made end)
