"""
Tests for L{twistginx.http.variables}.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from twistginx.config.regex import Regex
from twistginx.config.scope import Scope
from twistginx.config.template import PROXY_PROTOCOL, VARIABLES, LogTemplate
from twistginx.http import variables
from twistginx.http.message import Fields, Record, RequestHead, ResponseHead
from twistginx.http.variables import compile_template, safe_location, safe_value
from twistginx.net.proxyprotocol import ProxyHeader, TLSInformation


def make_request(
    target: bytes = b"/a%20b?x=1&y=&x=2", host: bytes = b"example.com:8080", proxy_header=None, **fields: bytes
):
    head = RequestHead(b"GET", target, b"HTTP/1.1", Fields.of((key.encode(), value) for key, value in fields.items()))
    head.host = host
    path, mark, query = target.partition(b"?")
    head.path = path
    head.query = query if mark else None
    return SimpleNamespace(
        head=head,
        target_path=head.path,
        target_query=head.query,
        site=None,
        route=None,
        captured=None,
        client_ip=b"192.0.2.7",
        scheme=b"https",
        request_id=b"1234",
        remote_user=b"ann",
        split=b"canary",
        upstream_name=b"127.0.0.1:9001",
        channel=SimpleNamespace(
            proxy_header=proxy_header,
            transport=None,
            getHost=lambda: IPv4Address("TCP", "192.0.2.1", 8080),
            getPeer=lambda: UNIXAddress(None),
        ),
    )


def fill(text: str, request=None, outcome=None, missing: bytes = b"") -> bytes:
    return compile_template(LogTemplate.parse(text), missing)(request or make_request(), outcome)


RECORD = Record(200, 1234, 0.01251, "", "", "127.0.0.1:9001")


class VariableTests(SynchronousTestCase):
    """
    The value of each variable.
    """

    def test_request(self):
        """
        What the client has sent is as it was sent.
        """
        for text, expected in (
            ("{client}", b"192.0.2.7"),
            ("{host}", b"example.com"),
            ("{method}", b"GET"),
            ("{path}", b"/a%20b"),
            ("{query}", b"x=1&y=&x=2"),
            ("{uri}", b"/a%20b?x=1&y=&x=2"),
            ("{scheme}", b"https"),
            ("{request}", b"GET /a%20b?x=1&y=&x=2 HTTP/1.1"),
            ("{upstream}", b"127.0.0.1:9001"),
        ):
            self.assertEqual(fill(text), expected, text)

    def test_host(self):
        """
        The host is without its port; an IPv6 address keeps its brackets.
        """
        for host, expected in (
            (b"a", b"a"),
            (b"a:80", b"a"),
            (b"[::1]:80", b"[::1]"),
            (b"[::1]", b"[::1]"),
            (b"", b""),
        ):
            self.assertEqual(fill("{host}", make_request(host=host)), expected)

    def test_header(self):
        """
        A header is found whatever its letters' case; several lines of it are one list, and of Cookie one line.
        """
        request = make_request()
        request.head.fields = Fields.of([(b"X-A", b"1"), (b"x-a", b"2"), (b"Cookie", b"a=1"), (b"Cookie", b"b=2")])
        self.assertEqual(fill("{header.X-a}", request), b"1, 2")
        self.assertEqual(fill("{header.cookie}", request), b"a=1; b=2")
        self.assertEqual(fill("{header.none}", request), b"")

    def test_cookie(self):
        """
        The first cookie of that very name, without its quotes.
        """
        request = make_request(cookie=b'aa=0; A=no; a="1=2" ; a=3; b; c=')
        self.assertEqual(fill("{cookie.a}", request), b"1=2")
        self.assertEqual(fill("{cookie.A}", request), b"no")
        for name in ("b", "c", "d"):
            self.assertEqual(fill(f"{{cookie.{name}}}", request), b"")
        self.assertEqual(fill("{cookie.a}"), b"")

    def test_argument(self):
        """
        The first argument of that name, however the name is encoded.
        """
        request = make_request(b"/?a=1%202&a=3&%62=x=y&c&=e")
        for name, expected in (("a", b"1%202"), ("b", b"x=y"), ("c", b""), ("d", b"")):
            self.assertEqual(fill(f"{{arg.{name}}}", request), expected)
        self.assertEqual(fill("{arg.a}", make_request(b"/")), b"")

    def test_record(self):
        """
        What is known at the end.
        """
        text = "{status} {bytes_sent} {duration} [{reason}] [{detail}]"
        self.assertEqual(fill(text, outcome=RECORD), b"200 1234 0.013 [] []")
        self.assertEqual(fill(text), b"   [] []")
        failed = Record(502, 7, 0.5, "dns_error", "no such name", "")
        self.assertEqual(fill("[{reason}] [{detail}]", outcome=failed), b"[dns_error] [no such name]")

    def test_response(self):
        """
        The status is known as soon as there is a response.
        """
        self.assertEqual(fill("{status}{bytes_sent}", outcome=ResponseHead(404, Fields())), b"404")

    def test_times(self):
        """
        The times of the log, in English whatever the locale; made once a second.
        """
        now = [1_000_000_000.0]
        self.patch(variables, "time", lambda: now[0])
        local = fill("{time_local}")
        self.assertTrue(re.fullmatch(rb"\d\d/Sep/2001:\d\d:\d\d:40 [+-]\d{4}", local), local)
        self.assertTrue(re.fullmatch(rb"2001-09-\d\dT\d\d:\d\d:40[+-]\d\d:\d\d", fill("{time_iso}")))
        now[0] += 0.9
        self.assertEqual(fill("{time_local}"), local)
        now[0] += 1
        self.assertNotEqual(fill("{time_local}"), local)

    def test_all(self):
        """
        Every variable that the configuration knows has a value.
        """
        header = ProxyHeader(("192.0.2.7", 5000), ("192.0.2.1", 443))
        for request in (make_request(), make_request(proxy_header=header)):
            for name in (*VARIABLES, *(f"proxy_protocol.{each}" for each in PROXY_PROTOCOL)):
                argument = {"proxy_protocol.": "port", "tls.": "version"}.get(name, "x")
                text = f"{{{name}{argument}}}" if name.endswith(".") else f"{{{name}}}"
                with Scope(frozenset("x"), frozenset("x"), frozenset("1")).entered():
                    self.assertIsInstance(fill(text, request, RECORD), bytes, text)
                    self.assertEqual(fill("{1}", request), b"")

    def test_connection(self):
        """
        What there is to know of the connection; empty where there is nothing.
        """
        self.assertEqual(fill("{port} {client_port} {protocol} {authority}"), b"8080  HTTP/1.1 example.com:8080")
        self.assertEqual(fill("{tls.version}{tls.client_cn}{tls.server_name}"), b"")
        request = make_request()
        handle = SimpleNamespace(version=lambda: "TLSv1.3", cipher=lambda: ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128))
        request.channel.transport = SimpleNamespace(
            getHandle=lambda: handle,
            hello=SimpleNamespace(server_name=b"example.com"),
            negotiatedProtocol=b"http/1.1",
            getPeerCertificate=lambda: None,
        )
        self.assertEqual(
            fill("{tls.version} {tls.cipher} {tls.server_name} {tls.alpn} {tls.client_cn}", request),
            b"TLSv1.3 TLS_AES_128_GCM_SHA256 example.com http/1.1 ",
        )

    def test_target(self):
        """
        The target is what the resource sees, the URI what was sent.
        """
        request = make_request(b"/a%20b?x")
        self.assertEqual(fill("{target} {uri}", request), b"/a%20b?x /a%20b?x")
        request.target_path, request.target_query = b"/new", None
        self.assertEqual(fill("{target} {uri}", request), b"/new /a%20b?x")

    def test_captures(self):
        """
        By number of the route's pattern, by name of it or of a regex among the names of the site.
        """
        request = make_request()
        path, pattern = b"/en/12", Regex.parse("^/(?P<lang>en|de)/([0-9]+)(/x)?")
        request.captured = path, pattern.find(path), pattern.names
        request.site = SimpleNamespace(patterns=(Regex.parse("^(?P<shop>[a-z]+)[.](?P<tld>[a-z]+)$"),))
        names = frozenset(("0", "1", "2", "3", "9", "lang", "shop", "tld"))
        with Scope(captures=names).entered():
            self.assertEqual(fill("{lang} {1} {2} {3} {9} {0} {shop}", request), b"en en 12   /en/12 example")
            request.captured = None
            self.assertEqual(fill("{lang}{1}{tld}", request), b"com")
            request.site = None
            self.assertEqual(fill("{tld}", request), b"")

    def test_proxy_protocol(self):
        """
        What the PROXY header says; what it does not say, and everything where there is no header, is empty.
        """
        tls = TLSInformation(True, 0, ((0x21, b"TLSv1.3"), (0x22, b"alice")))
        tlvs = ((0x02, b"example.com"), (0xE0, b"blue"), (0x20, b"raw"))
        header = ProxyHeader(("192.0.2.7", 5000), ("2001:db8::1", 443), tlvs, tls)
        for name, expected in (
            ("address", b"192.0.2.7"),
            ("port", b"5000"),
            ("server_address", b"2001:db8::1"),
            ("server_port", b"443"),
            ("authority", b"example.com"),
            ("alpn", b""),
            ("tlv_0xE0", b"blue"),
            ("tlv_0xe0", b"blue"),
            ("tlv_0x2", b"example.com"),
            ("tlv_0xE1", b""),
            ("ssl_version", b"TLSv1.3"),
            ("ssl_cn", b"alice"),
            ("ssl_cipher", b""),
            ("ssl_verify", b"0"),
        ):
            self.assertEqual(fill(f"{{proxy_protocol.{name}}}", make_request(proxy_header=header)), expected, name)
            self.assertEqual(fill(f"{{proxy_protocol.{name}}}", make_request(proxy_header=ProxyHeader())), b"", name)
            self.assertEqual(fill(f"{{proxy_protocol.{name}}}"), b"", name)
        unix = make_request(proxy_header=ProxyHeader(b"/run/a", b"/run/b"))
        self.assertEqual(fill("{proxy_protocol.address} {proxy_protocol.port}", unix), b"/run/a ")


class TemplateTests(SynchronousTestCase):
    """
    Templates, compiled.
    """

    def test_constant(self):
        """
        A text without variables is the same bytes each time.
        """
        get = compile_template(LogTemplate.parse("grüße {{x}}"))
        self.assertEqual(get(None), "grüße {x}".encode())
        self.assertIs(get(None), get(None))

    def test_parts(self):
        """
        Text and variables stand in their order.
        """
        self.assertEqual(fill("{scheme}://{host}{uri}"), b"https://example.com/a%20b?x=1&y=&x=2")
        self.assertEqual(fill("<{method}>"), b"<GET>")
        self.assertEqual(fill(""), b"")

    def test_missing(self):
        """
        A variable without a value is what the caller says.
        """
        self.assertEqual(fill("{header.x}|{arg.y}|{method}", missing=b"-"), b"-|-|GET")
        self.assertEqual(fill("{header.x}", missing=b"-"), b"-")
        self.assertEqual(fill("{header.x}|"), b"|")


class SafeTests(SynchronousTestCase):
    """
    What a client sends ends no line, and leads nowhere else.
    """

    @given(st.binary(max_size=40))
    def test_value(self, value):
        """
        A value of a field has no control character but tabs inside, and loses nothing else.
        """
        safe = safe_value(value)
        self.assertFalse(set(safe) & ({*range(32), 127} - {9}))
        self.assertEqual(safe, safe.strip())
        self.assertEqual(safe_value(safe), safe)
        if all(32 < byte != 127 for byte in value):
            self.assertEqual(safe, value)

    @given(st.binary(max_size=40))
    def test_location(self, value):
        """
        A Location is visible ASCII without backslashes.
        """
        safe = safe_location(value)
        self.assertTrue(re.fullmatch(rb"[!-~]*", safe))
        self.assertNotIn(b"\\", safe)
        self.assertEqual(safe_location(safe), safe)

    def test_location_of_a_reference(self):
        """
        What may stand in a reference stays as it is.
        """
        reference = b"https://u@[::1]:80/a;b=%20/(c)!$&'*+,?q=@:/#f~-._"
        self.assertIs(safe_location(reference), reference)
        self.assertEqual(safe_location("/ä b\r\n\\".encode()), b"/%C3%A4%20b%0D%0A%5C")
