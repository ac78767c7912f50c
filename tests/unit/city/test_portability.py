"""An export is taken out part by part, into files that nobody else reads and that replace nothing."""

import httpx
import pytest

from passerelle.cli.consent import _write_own
from passerelle.portability import PARTS_MAX, NoExport, parts
from passerelle_schemas.faults import Fault


def client(answer):
    return httpx.Client(base_url="http://consent", transport=httpx.MockTransport(answer))


def test_every_part_is_taken_in_order():
    def answer(request):
        number = int(request.url.params.get("cursor", 1))
        following = {"Link": f'</v1/subjects/ab/export?cursor={number + 1}>; rel="next"'} if number < 3 else {}
        return httpx.Response(200, text=f"part {number} {request.url.params.get('lang')}", headers=following)

    assert list(parts(client(answer), "ab", "en")) == ["part 1 en", "part 2 None", "part 3 None"]


def test_a_service_that_leads_in_circles_is_left():
    circle = {"Link": '</v1/subjects/ab/export>; rel="next"'}
    taken = parts(client(lambda _: httpx.Response(200, text="part", headers=circle)), "ab", "fr")
    with pytest.raises(NoExport, match=f"more than {PARTS_MAX} parts"):
        list(taken)


def unreachable(_):
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (unreachable, r"no answer \(ConnectError\)"),
        (lambda _: httpx.Response(404, json={"title": "No such subject."}), "No such subject"),
        (lambda _: httpx.Response(502, text="<html>"), "502"),
        (lambda _: httpx.Response(302), "302"),
    ],
)
def test_what_is_no_export_is_one_line(answer, told):
    with pytest.raises(NoExport, match=told):
        list(parts(client(answer), "ab", "fr"))


def test_a_part_is_its_owners_alone_and_replaces_nothing(tmp_path):
    path = tmp_path / "export.jws"
    _write_own(path, "a.b.c")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("a.b.c\n", 0o600)
    with pytest.raises(Fault, match="is there already"):
        _write_own(path, "other")
    assert path.read_text() == "a.b.c\n"
    with pytest.raises(Fault, match="cannot be written"):
        _write_own(tmp_path / "none" / "export.jws", "a.b.c")
