"""HTTP: what an answer is (`response`), which one is given (`endpoints`), who serves (`server`)."""
