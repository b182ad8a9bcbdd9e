"""Whatever the server does: the whole file under its name, or one line, and never a wrong file."""

import email.utils
import hashlib
import socket
import time
from dataclasses import replace

import pytest

from bayesden.errors import FetchError, InputError, OutputError
from bayesden.io.download import Download, Manners, fetch
from tests.webserver import answer, broken, stalling, status, whole

NAME = "spec-1-2-3.fits"
IMPATIENT = Manners(connections=2, attempts=6, timeout_s=0.5, pause_s=0.01, longest_s=5.0)


def sound(path):
    """What counts as a file that is what its name says."""
    if not path.read_bytes().startswith(b"SOUND"):
        raise InputError("expected a sound file, got another")


@pytest.fixture
def content():
    return b"SOUND" + bytes(range(256)) * 2000


@pytest.fixture
def get(site, tmp_path):
    """Fetch addresses into the test's folder; gives what became of them."""

    def run(*urls, sha256=None, manners=IMPATIENT, **options):
        wanted = [Download(url if isinstance(url, tuple) else (url,), tmp_path, sha256) for url in urls]
        return list(fetch(wanted, check=sound, manners=manners, **options))

    return run


def fetched(outcomes, content):
    (outcome,) = outcomes
    assert (outcome.status, outcome.reason) == ("fetched", "")
    assert outcome.path.name == NAME
    assert outcome.path.read_bytes() == content
    assert [path.name for path in outcome.path.parent.iterdir()] == [NAME]  # nothing temporary is left


def refused(outcomes, *expected, state="failed"):
    (outcome,) = outcomes
    assert outcome.status == state
    assert outcome.path is None
    assert "\n" not in outcome.reason and len(outcome.reason) < 500 and " at 0x" not in outcome.reason
    for text in expected:
        assert text in outcome.reason


def test_a_file_comes_whole_and_only_once(site, get, content):
    url = site.put(NAME, whole(content))
    fetched(get(url, url), content)
    assert site.asked(NAME) == [""]
    (again,) = get(url)
    assert again.status == "kept" and site.asked(NAME) == [""]
    (anew,) = get(url, overwrite=True)
    assert anew.status == "fetched" and len(site.asked(NAME)) == 2
    agent = site.seen[0][1]["User-Agent"]
    assert agent.startswith("bayesden/")


def test_a_broken_transfer_is_resumed_where_it_broke(site, get, content):
    url = site.put(NAME, broken(content, 100_000), broken(content, 50_000), whole(content))
    fetched(get(url), content)
    assert site.asked(NAME) == ["", "bytes=100000-", "bytes=150000-"]


def test_a_later_run_resumes_too(site, get, content, tmp_path):
    url = site.put(NAME, broken(content, 100_000))
    refused(get(url, manners=replace(IMPATIENT, attempts=1)), "gave up after 1 attempts")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{NAME}.part", f".{NAME}.part.json"]
    site.put(NAME, whole(content))
    fetched(get(url), content)
    assert site.asked(NAME)[-1] == "bytes=100000-"


def test_a_stalled_transfer_is_resumed(site, get, content):
    url = site.put(NAME, stalling(content, 1000, 3.0), whole(content))
    fetched(get(url), content)
    assert site.asked(NAME) == ["", "bytes=1000-"]


def test_a_trickle_counts_as_stalled(site, get, content):
    url = site.put(NAME, stalling(content, 0, 5.0, trickle=0.1))
    refused(get(url, manners=replace(IMPATIENT, attempts=1)), "stalled")


def test_a_server_that_never_answers_fails_with_a_line(site, get, content):
    url = site.put(NAME, lambda handler: time.sleep(2))
    refused(get(url, manners=replace(IMPATIENT, attempts=2)), "gave up after 2 attempts", "timed out")


def test_a_file_that_changed_between_attempts_is_fetched_anew(site, get, content):
    other = content[::-1].replace(content[-5:], b"") + content
    other = b"SOUND" + other
    url = site.put(NAME, broken(content, 100_000), whole(other))
    fetched(get(url), other)


def test_a_file_that_changed_although_the_server_ignores_if_range(site, get, content):
    """The server sends the rest of another file: its tag tells."""
    other = b"SOUND" + content[5:][::-1]
    rest = answer(
        206,
        other[100_000:],
        Content_Range=f"bytes 100000-{len(other) - 1}/{len(other)}",
        ETag='"another"',
    )
    url = site.put(NAME, broken(content, 100_000), rest, whole(other))
    fetched(get(url), other)


def test_a_file_that_shrank_is_fetched_anew(site, get, content):
    url = site.put(NAME, broken(content, 100_000), status(416, Content_Range="bytes */5000"), whole(content[:5000]))
    fetched(get(url), content[:5000])


def test_a_partial_answer_from_another_place_is_not_appended(site, get, content):
    wrong = answer(206, content[7:], Content_Range=f"bytes 7-{len(content) - 1}/{len(content)}")
    url = site.put(NAME, broken(content, 100_000), wrong, whole(content))
    fetched(get(url), content)


def test_without_a_tag_there_is_nothing_to_resume_by(site, get, content):
    url = site.put(NAME, broken(content, 100_000, tagged=False), whole(content, tagged=False))
    fetched(get(url), content)
    assert site.asked(NAME) == ["", ""]


def test_all_was_there_but_the_name(site, get, content, tmp_path):
    """A run was killed between the last byte and the renaming."""
    url = site.put(NAME, broken(content, len(content) - 1))
    refused(get(url, manners=replace(IMPATIENT, attempts=1)))
    with (tmp_path / f".{NAME}.part").open("ab") as file:
        file.write(content[-1:])
    site.put(NAME, whole(content))
    fetched(get(url), content)
    assert site.asked(NAME)[-1] == f"bytes={len(content)}-"


@pytest.mark.parametrize("note", [b"", b"[]", b"\xff\xfe", b'{"url": "elsewhere", "tag": "x"}', b'{"tag": 3}'])
def test_a_damaged_note_costs_a_fresh_start(site, get, content, tmp_path, note):
    (tmp_path / f".{NAME}.part").write_bytes(b"something else")
    (tmp_path / f".{NAME}.part.json").write_bytes(note)
    fetched(get(site.put(NAME, whole(content))), content)


@pytest.mark.parametrize("code", [404, 410])
def test_a_file_that_the_archive_lacks(site, get, code):
    refused(get(site.put(NAME, status(code))), NAME, "the archive has no such file", state="absent")
    assert len(site.asked(NAME)) == 1


def test_the_next_address_is_tried(site, get, content):
    url = site.put(f"b/{NAME}", whole(content))
    fetched(get((f"{site.url}/a/{NAME}", url)), content)


def test_429_and_503_are_waited_for(site, get, content):
    date = email.utils.formatdate(time.time() + 1, usegmt=True)
    url = site.put(NAME, status(429, Retry_After=1), status(503, Retry_After=date), status(503), whole(content))
    before = time.monotonic()
    fetched(get(url), content)
    assert time.monotonic() - before >= 1.0  # what the server asked for


def test_all_connections_wait_when_the_server_asks_one(site, get, content):
    first = site.put("first.fits", status(429, Retry_After=1), whole(content))
    others = [site.put(f"{i}.fits", stalling(content, len(content), 0.1)) for i in range(12)]
    assert {outcome.status for outcome in get(first, *others)} == {"fetched"}
    asked = [path for path, _ in site.seen]
    assert (
        asked.index("/first.fits", 1) - asked.index("/first.fits") <= 4
    )  # without waiting, all the others come before
    assert site.most_busy <= IMPATIENT.connections + 1  # one has sent all and is not done yet


def test_a_server_that_wants_hours_is_not_waited_for(site, get):
    refused(get(site.put(NAME, status(429, Retry_After=7200))), "asks to come back in 7200 s")


@pytest.mark.parametrize("value", ["soon", "-5", "9" * 400, "Mon, 99 Foo 2026"])
def test_a_senseless_retry_after_is_our_own_pause(site, get, content, value):
    outcomes = get(site.put(NAME, status(503, Retry_After=value), whole(content)))
    assert outcomes[0].status == "fetched" or "come back in" in outcomes[0].reason


@pytest.mark.parametrize("code", [401, 403, 451])
def test_a_refusal_is_not_repeated(site, get, code):
    refused(get(site.put(NAME, status(code))), NAME, f"HTTP status {code}")
    assert len(site.asked(NAME)) == 1


def test_a_server_that_stays_down_is_given_up(site, get):
    refused(get(site.put(NAME, status(502))), "gave up after 6 attempts", "HTTP status 502")
    assert len(site.asked(NAME)) == 6


def test_a_content_length_that_promises_too_much(site, get, content):
    """Nothing tells the whole file from a part of it but its check, which here would pass: it fails."""
    lie = answer(200, content, Content_Length=len(content) + 10, Connection="close")

    def reply(handler):
        lie(handler)
        handler.close_connection = True

    refused(get(site.put(NAME, reply), manners=replace(IMPATIENT, attempts=2)), "gave up after 2 attempts")


def test_a_content_length_that_promises_too_little(site, get, content):
    """What is past the announced end is not read: the check tells; and it is not taken for the next answer."""
    digest = hashlib.sha256(content).hexdigest()
    url = site.put(NAME, answer(200, content, Content_Length=1000), whole(content))
    fetched(get(url, sha256=digest), content)


@pytest.mark.parametrize("length", ["-5", "many", "1e3", "5, 6"])
def test_a_content_length_that_is_no_number(site, get, content, length):
    url = site.put(NAME, answer(200, content, Content_Length=length, Connection="close"), whole(content))
    outcomes = get(url, sha256=hashlib.sha256(content).hexdigest())
    assert outcomes[0].status == "failed" or outcomes[0].path.read_bytes() == content


def test_a_page_in_place_of_the_file(site, get, tmp_path):
    """As a login page of a hotel's network."""
    url = site.put(NAME, answer(200, b"<html>Welcome</html>"))
    refused(get(url), "came damaged twice", "expected a sound file")
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_is_of_every_byte(site, get, content):
    digest = hashlib.sha256(content).hexdigest()
    url = site.put(NAME, whole(content[:-1] + b"?"), whole(content))
    fetched(get(url, sha256=digest.upper()), content)
    refused(get(url, sha256="0" * 64), NAME, "expected the checksum 000", "--overwrite replaces it")


def test_a_redirection_is_followed_and_a_loop_is_not(site, get, content):
    there = site.put("there/else.bin", whole(content))
    fetched(get(site.put(NAME, status(302, Location=there))), content)
    loop = site.put("loop.fits", status(302, Location="/loop.fits"))
    refused(get(loop, manners=replace(IMPATIENT, attempts=2)), "too many redirects")


def test_a_redirection_to_a_file_of_this_machine_is_refused(site, get):
    refused(get(site.put(NAME, status(302, Location="file:///etc/passwd"))))


def test_no_network_is_one_line_for_all_files(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wanted = [Download((f"http://127.0.0.1:{port}/{i}.fits",), tmp_path) for i in range(500)]
    with pytest.raises(FetchError) as caught:
        list(fetch(wanted, check=sound, manners=IMPATIENT))
    message = str(caught.value)
    assert message.startswith(f"http://127.0.0.1:{port} cannot be reached: no network")
    assert "\n" not in message and " at 0x" not in message and "port=" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_does_not_resolve(tmp_path):
    with pytest.raises(FetchError, match=r"http://nowhere\.invalid cannot be reached"):
        list(fetch([Download(("http://nowhere.invalid/a.fits",), tmp_path)], check=sound, manners=IMPATIENT))


def test_a_place_that_cannot_be_written_stops_the_run(site, content, tmp_path):
    (tmp_path / "file").touch()
    url = site.put(NAME, whole(content))
    with pytest.raises(OutputError, match=r"spec-1-2-3\.fits: expected a place"):
        list(fetch([Download((url,), tmp_path / "file")], check=sound, manners=IMPATIENT))


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a%2Fb", "..%2F..%2Fetc", "a b", "a%00b", "%E2%82%AC", "a\\b"])
def test_an_address_never_leaves_its_folder(tmp_path, name):
    with pytest.raises(InputError, match="plain file name"):
        Download((), tmp_path).target(f"http://127.0.0.1/{name}")
    assert Download((), tmp_path).target("http://h/a%2B1.0.txt.gz") == tmp_path / "a+1.0.txt.gz"


def test_stopping_early_leaves_no_thread_behind(site, content, tmp_path):
    wanted = [Download((site.put(f"{i}.fits", whole(content)),), tmp_path) for i in range(50)]
    running = fetch(wanted, check=sound, manners=IMPATIENT)
    next(running)
    running.close()
    assert len(site.seen) < 50
