"""The head of a request as a browser sends it."""

CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)


def browser_head(
    number: int,
    *,
    method: str = "GET",
    path: str = "/",
    body: int = 0,
    close: bool = False,
    host: str = "shop.example",
    user_agent: str = CHROME,
) -> str:
    """A head of twelve fields as Chrome sends it, its query and cookie different for each ``number``."""
    token = f"{number * 2654435761 % 2**32:08x}"
    length = f"Content-Length: {body}\r\n" if body else ""
    return (
        f"{method} {path}?item={number}&session={token} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
        f"{length}"
        'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"\r\n'
        "sec-ch-ua-mobile: ?0\r\n"
        'sec-ch-ua-platform: "Linux"\r\n'
        "Upgrade-Insecure-Requests: 1\r\n"
        f"User-Agent: {user_agent}\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
        "Referer: http://shop.example/list\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\n"
        "Accept-Language: en-GB,en;q=0.9,de;q=0.7\r\n"
        f"Cookie: session={token}{token}; seen={number}; consent=1\r\n\r\n"
    )
