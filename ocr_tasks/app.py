"""The Celery app: queues, routes and delivery settings. Tasks are registered by `workers`; callers send by name."""

from __future__ import annotations

from celery import Celery
from kombu.entity import Exchange, Queue

from ocr_tasks.contract import Priority, prepare_queue, queues
from ocr_tasks.settings import Settings, get_settings

# A message is delivered again when it was not acknowledged for this long. Leases in Postgres are the real guard;
# this only bounds how long a killed worker's messages stay out of sight.
VISIBILITY_TIMEOUT_S = 900

TRANSPORT = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    # The defaults (10 x 10) look for lost messages every 100 s only.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "health_check_interval": 25,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "queue_order_strategy": "priority",
}

# Seconds that Celery's result backend keeps what became of a direct caller's job.
RESULT_EXPIRES_S = 86400

EXCHANGE = Exchange("lightdom_ocr", type="direct")

# A frozen Redis must not freeze whoever publishes: the row is stored, the reconciler sends it later.
PUBLISH_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}


def make_app(settings: Settings, *, socket_timeout_s: float = 5, sent_events: bool = True) -> Celery:
    """A Celery app on the broker that the settings name.

    socket_timeout_s: how long a frozen Redis may hold a caller up. sent_events: whether Flower is told of every message
    that is sent, and not only of those that a worker has taken.
    """
    app = Celery("lightdom_ocr", broker=settings.broker_url, backend=settings.broker_url)
    app.conf.update(
        task_queues=[Queue(name, EXCHANGE, routing_key=name) for name in queues()],
        # What is sent without a queue goes where entry tasks are served, instead of where nobody listens.
        task_default_queue=prepare_queue(Priority.INTERACTIVE),
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_store_eager_result=False,
        result_expires=RESULT_EXPIRES_S,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=sent_events,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=TRANSPORT | {"socket_timeout": socket_timeout_s},
        result_backend_transport_options={"retry_policy": {"timeout": 3.0}},
        redis_socket_timeout=5,
        redis_socket_connect_timeout=2,
        task_publish_retry_policy=PUBLISH_RETRY,
        timezone="UTC",
    )
    return app


app = make_app(get_settings())
