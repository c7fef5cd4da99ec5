"""Grafana dashboards as code; `python -m deploy.grafana DIRECTORY` writes them as JSON."""
