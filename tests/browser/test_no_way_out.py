"""What a page may reach: the canary hears nothing of given HTML, nor of an address's page beyond what is allowed."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator

import pytest

from ocr_tasks.errors import AddressForbidden, OcrError
from tests.browser.conftest import Rendering
from tests.browser.site import Canary, Site

SECRET = "the-secret-of-this-file"


def everything(place: str, tls: str = "https") -> str:
    """A page that tries all ways of loading something from `place` (host:port)."""
    url = f"http://{place}"
    data = base64.b64encode(f"<script src={url}/data.js></script>".encode()).decode()
    return f"""<!doctype html><html><head><title>t</title>
    <link rel=stylesheet href={url}/s.css><link rel=icon href={url}/i.png><link rel=preload as=image href={url}/p.png>
    <link rel=prefetch href={url}/pre><link rel=dns-prefetch href={url}><link rel=preconnect href={url}>
    <link rel=modulepreload href={url}/m.js><link rel=manifest href={url}/manifest><link rel=prerender href={url}/pr>
    <script type=speculationrules>
    {{"prerender":[{{"urls":["{url}/sp"]}}],"prefetch":[{{"urls":["{url}/sf"]}}]}}</script>
    <style>@import url({url}/imp.css); @font-face {{font-family:f; src:url({url}/f.woff)}}
      body {{font-family:f, sans-serif; background:url({url}/bg.png)}} p::after {{content:url({url}/c.png)}}</style>
    </head><body><p>still here</p>
    <img src={url}/img.png srcset="{url}/img2.png 2x"><picture><source srcset={url}/pic.png><img></picture>
    <img src={tls}://{place}/tls.png><video src={url}/v.mp4 poster={url}/po.png autoplay></video>
    <audio src={url}/a.mp3 autoplay></audio><object data={url}/o></object><embed src={url}/e>
    <iframe src={url}/frame></iframe>
    <iframe srcdoc='<img src={url}/srcdoc.png><meta http-equiv=refresh content=0;{url}/x>'>
    </iframe><iframe src="data:text/html;base64,{data}"></iframe>
    <iframe sandbox=allow-scripts src={url}/sandbox></iframe>
    <iframe name=inside></iframe><form id=f target=inside action={url}/form method=post><input name=a value=1></form>
    <input type=image src={url}/in.png>
    <svg><image href={url}/svg.png /><use href={url}/use.svg#a /></svg><math href={url}/m></math>
    <body background={url}/body.png><script src={url}/script.js></script><script type=module src={url}/mod.js></script>
    <script>
    const tries = [
      () => fetch('{url}/fetch', {{mode: 'no-cors'}}), () => {{ const x = new XMLHttpRequest();
        x.open('GET', '{url}/xhr'); x.send(); }},
      () => navigator.sendBeacon('{url}/beacon', 'x'), () => new WebSocket('ws://{place}/ws'),
      () => new WebSocket('wss://{place}/wss'), () => new EventSource('{url}/events'),
      () => new Worker(URL.createObjectURL(new Blob([`fetch('{url}/worker'); new WebSocket('ws://{place}/w');
        importScripts('{url}/imported.js')`]))), () => new SharedWorker('data:text/javascript,fetch("{url}/shared")'),
      () => open('{url}/popup'), () => open('{url}/noopener', '_blank', 'noopener'),
      () => import('{url}/dynamic.js'), () => new Image().src = '{url}/image',
      () => new WebTransport('https://{place}/wt'), () => document.getElementById('f').submit(),
      () => {{ for (const kind of ['stun', 'turn', 'turns']) {{ for (const how of ['udp', 'tcp']) {{
        const peer = new RTCPeerConnection({{iceServers: [{{urls: kind + ':{place}?transport=' + how,
          username: 'u', credential: 'c'}}]}});
        peer.createDataChannel('x'); peer.createOffer().then(o => peer.setLocalDescription(o)); }} }} }},
      () => {{ const inner = document.body.appendChild(document.createElement('iframe')).contentWindow;
        const peer = new inner.RTCPeerConnection({{iceServers: [{{urls: 'stun:{place}'}}]}});
        peer.createDataChannel('x'); peer.createOffer().then(o => peer.setLocalDescription(o)); }},
      () => navigator.serviceWorker.register('/sw.js'), () => new Audio('{url}/audio').play(),
      () => {{ const r = new ReportingObserver(() => 0); r.observe(); }},
      () => document.fonts.add(new FontFace('g', 'url({url}/g.woff)')) && document.fonts.load('1em g'),
    ];
    for (const attempt of tries) try {{ const made = attempt(); made?.catch?.(() => 0); }} catch (error) {{ }}
    </script></body></html>"""


@pytest.mark.parametrize("scripts", [False, True])
def test_given_html_reaches_no_network(scripts: bool, canary: Canary, render_html: Rendering) -> None:
    harvest = render_html(everything(canary.address), javascript=scripts, waitFor=700)
    assert harvest.text.startswith("still here")
    assert harvest.dom
    assert any(canary.address in blocked.url for blocked in harvest.blocked)
    assert harvest.url is None


@pytest.mark.parametrize(
    "leave",
    [
        "<meta http-equiv=refresh content='0;url=http://PLACE/'>",
        "<script>location = 'http://PLACE/'</script>",
        "<script>setTimeout(() => document.forms[0].submit())</script><form method=post action=http://PLACE/></form>",
        "<script>parent.location = top.location = 'file:///etc/passwd'</script>",
    ],
)
def test_given_html_stays_where_it_is(leave: str, canary: Canary, render_html: Rendering) -> None:
    html = f"<!doctype html><p>still here</p>{leave.replace('PLACE', canary.address)}"
    assert render_html(html, javascript=True, waitFor=300).text == "still here"


def reading_files(path: str) -> str:
    url = f"file://{path}"
    return f"""<!doctype html><p>still here</p><iframe src={url}></iframe><object data={url}></object><embed src={url}>
    <img src={url}><link rel=stylesheet href={url}><script src={url}></script><iframe src=view-source:{url}></iframe>
    <iframe src=chrome://version></iframe><iframe src="jar:{url}!/"></iframe><iframe src=filesystem:{url}></iframe>
    <script>
    for (const attempt of [() => fetch('{url}').then(r => r.text()).then(t => document.body.append(t)),
      () => {{ const x = new XMLHttpRequest(); x.open('GET', '{url}', false); x.send();
        document.body.append(x.responseText) }},
      () => open('{url}'), () => new Worker('{url}'), () => import('{url}'), () => location = '{url}',
      () => document.body.append(document.querySelector('iframe').contentDocument.body.innerText)])
      try {{ attempt()?.catch?.(() => 0) }} catch (error) {{ }}
    </script>"""


def test_no_page_reads_files(
    tmp_path_factory: pytest.TempPathFactory, site: Site, render_url: Rendering, render_html: Rendering
) -> None:
    path = tmp_path_factory.mktemp("secrets") / "secret.html"
    path.write_text(f"<p>{SECRET}</p>")
    page = reading_files(str(path))
    harvests = [
        render_html(page),
        render_html(page, javascript=True, waitFor=300),
        render_url(site.page("/files", page), waitFor=300),
    ]
    for harvest in harvests:
        assert harvest.text.startswith("still here")
        assert SECRET not in harvest.text + harvest.dom + str(harvest.frames)


def test_a_page_on_the_web_reaches_what_it_may_and_nothing_else(
    site: Site, canary: Canary, render_url: Rendering
) -> None:
    site.page("/sw.js", f"fetch('http://{canary.address}/sw')", media_type="text/javascript")
    site.page("/bounce", "", status=302, headers={"Location": f"http://{canary.address}/bounced"})
    page = everything(canary.address).replace("</body>", "<img src=/bounce><iframe src=/bounce></iframe></body>")
    harvest = render_url(site.page("/everything", page), waitFor=700)
    assert "/everything" in [path for path, _ in site.asked]
    assert harvest.text.startswith("still here")
    assert any(canary.address == blocked.url for blocked in harvest.blocked)


def spellings(port: int) -> Iterator[str]:
    """Other names of this machine."""
    number = int(ipaddress.IPv4Address("127.0.0.1"))
    for host in (
        "localhost", "127.0.0.1", "127.1", str(number), hex(number), "0177.0.0.1", "0x7f.0.0.1", "0", "0.0.0.0",
        "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "１２７.0.0.1", "127.0.0.1.", "localhost.",
    ):  # fmt: skip
        yield f"{host}:{port}"


def test_no_spelling_of_an_address_gets_through(site: Site, canary: Canary, render_url: Rendering) -> None:
    images = "".join(f"<img src='http://{place}/x.png'>" for place in spellings(canary.port))
    frames = "".join(f"<iframe src='http://{place}/'></iframe>" for place in list(spellings(canary.port))[::4])
    harvest = render_url(site.page("/spellings", f"<!doctype html><p>still here</p>{images}{frames}"))
    assert harvest.text.startswith("still here")
    for place in list(spellings(canary.port))[::3]:
        with pytest.raises(OcrError) as refused:
            render_url(f"http://{place}/")
        assert refused.value.status == 422


@pytest.mark.parametrize("kind", ["redirect", "refresh", "script"])
def test_a_page_that_leads_to_a_forbidden_address_is_refused_or_stays(
    kind: str, site: Site, canary: Canary, render_url: Rendering
) -> None:
    target = f"http://{canary.address}/"
    if kind == "redirect":
        url = site.page("/away", "", status=302, headers={"Location": target})
        with pytest.raises(AddressForbidden):
            render_url(url)
        return
    leave = {
        "refresh": f"<meta http-equiv=refresh content='0;url={target}'>",
        "script": f"<script>location='{target}'</script>",
    }
    try:
        harvest = render_url(site.page("/away", f"<p>still here</p>{leave[kind]}"), waitFor=500)
    except AddressForbidden:
        return
    assert any(blocked.url == canary.address for blocked in harvest.blocked)


def test_a_name_that_changes_its_address_is_not_followed(site: Site, canary: Canary, render_url: Rendering) -> None:
    """DNS rebinding: the first answer is a harmless address, all others are this machine's."""
    answers = iter([["93.184.216.34"]])

    def resolve(name: str) -> list[ipaddress.IPv4Address]:
        return [ipaddress.IPv4Address(text) for text in next(answers, ["127.0.0.1"])]

    page = f"""<p>still here</p><script>
      for (let n = 0; n < 6; n++) setTimeout(() => new Image().src = 'http://rebind.test:{canary.port}/' + n, n * 50)
    </script>"""
    # The first connection would go to the public address: there is no network here, and no wait for it is needed.
    harvest = render_url(site.page("/rebinds", page), resolve=resolve, waitFor=700)
    assert harvest.text == "still here"
    assert any(blocked.url == f"rebind.test:{canary.port}" for blocked in harvest.blocked)


def test_headers_go_to_the_pages_own_origin_only(site: Site, render_url: Rendering) -> None:
    other = f"http://other.test:{site.port}"
    site.page("/own.css", "", media_type="text/css")
    site.page("/hop", "", status=302, headers={"Location": f"{other}/hopped.png"})
    url = site.page("/headers", f"<link rel=stylesheet href=/own.css><img src={other}/third.png><img src=/hop>")

    def resolve(name: str) -> list[ipaddress.IPv4Address]:
        return [ipaddress.IPv4Address("127.0.0.1")]

    site.asked.clear()
    harvest = render_url(
        url, allow=f"other.test:{site.port}", resolve=resolve, headers={"X-Token": "secret"}, userAgent="Tester/1"
    )
    assert harvest.status == 200
    had = {path: headers.get("x-token") for path, headers in site.asked if path != "/favicon.ico"}
    assert had == {
        "/headers": "secret",
        "/own.css": "secret",
        "/hop": "secret",
        "/third.png": None,
        "/hopped.png": None,
    }
    assert {headers["user-agent"] for _, headers in site.asked} == {"Tester/1"}


def test_renders_share_nothing(site: Site, render_url: Rendering) -> None:
    keep = """<script>document.body.append(document.cookie + '|' + localStorage.length);
      document.cookie = 'kept=1'; localStorage.kept = 1; caches?.open?.('kept')</script>"""
    url = site.page("/keeps", f"<!doctype html><body>{keep}")
    assert [render_url(url).text for _ in range(2)] == ["|0", "|0"]
