"""HTTP: what is asked (`asgi`), what is answered (`endpoints`), and who serves it (`server`)."""
