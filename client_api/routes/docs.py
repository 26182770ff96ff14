"""The page /docs and its icon. All files come from our image, so no browser needs internet."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

PACKAGE = "fastapi_offline"
"""The package with Swagger UI's published files. We run none of its code."""
KEEP = {"cache-control": "public, max-age=86400"}
ONLY_FROM_HERE = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
}
"""With this header a browser loads nothing from another host. Swagger UI needs inline styles."""

# All addresses are relative: the page also works when a proxy serves the gateway below a path.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ratchet predictions</title>
<link rel="icon" href="favicon.ico" type="image/svg+xml">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui">
<noscript>This page needs JavaScript. The description itself is at openapi.json.</noscript>
</div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
});
"""
"""Without `validatorUrl: null` Swagger UI sends the description to a service of its makers."""
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<circle cx="16" cy="16" r="9" fill="none" stroke="#1f6f5c" stroke-width="5"/>
<path d="M16 1v6M31 16h-6M16 31v-6M1 16h6M26.6 5.4l-4.2 4.2M26.6 26.6l-4.2-4.2M5.4 26.6l4.2-4.2
M5.4 5.4l4.2 4.2"
 stroke="#1f6f5c" stroke-width="4"/>
</svg>
"""


def docs_routes() -> APIRouter:
    """Return the routes of the page, of the files that the page loads, and of the icon."""
    router = APIRouter(include_in_schema=False)
    script = files(PACKAGE).joinpath("static/swagger-ui-bundle.js").read_bytes()
    style = files(PACKAGE).joinpath("static/swagger-ui.css").read_bytes()

    @router.get("/docs")
    async def page() -> Response:
        return Response(PAGE, media_type="text/html", headers=ONLY_FROM_HERE)

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(START, media_type="text/javascript", headers=KEEP)

    @router.get("/docs/swagger-ui-bundle.js")
    async def swagger_ui() -> Response:
        return Response(script, media_type="text/javascript", headers=KEEP)

    @router.get("/docs/swagger-ui.css")
    async def swagger_ui_style() -> Response:
        return Response(style, media_type="text/css", headers=KEEP)

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml", headers=KEEP)

    return router
