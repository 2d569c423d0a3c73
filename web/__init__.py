"""The REST front: thin. It looks at size and magic bytes, stores, and answers from the rows; it parses no document."""

from __future__ import annotations

from flask import Flask

from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import Settings, get_settings


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application; gunicorn calls it as `web:create_app()`."""
    from web import crawl, dom, events, health, intake, jobs, metrics, ocr, problems, responses, stats, traffic
    from web.forms import FormRequest
    from web.services import Services

    settings = settings or get_settings()
    configure_logs(settings, process="web")
    app = Flask(__name__, static_folder=None)
    app.request_class = FormRequest
    app.config.update(MAX_CONTENT_LENGTH=settings.max_upload_bytes, MAX_FORM_PARTS=100)
    app.url_map.strict_slashes = False
    shared = Services.of(settings)
    shared.waiters.stop_on_sigterm()
    app.extensions["services"] = shared
    counted = traffic.RequestMetrics(traffic.shared_folder())
    app.extensions["metrics"] = metrics.ServiceMetrics(settings, counted)
    traffic.register(app, counted)
    app.before_request(intake.lose_patience)
    problems.register(app)
    responses.register(app)
    for room in (ocr, stats, dom, crawl, jobs, events, health, metrics):
        app.register_blueprint(room.blueprint)
    return app
