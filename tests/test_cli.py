"""The command line as a person, a pipe or a script meets it: in a process of its own where that matters (encodings,
pipes, exit codes), and else in this one, because a process spends seconds on its imports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generative
import pellucid
from pellucid import Explanation, cli, console
from pellucid.cli.inputs import read_inputs
from pellucid.conversations import messages_of
from pellucid.errors import InputError
from pellucid.types import Progress


def run(
    *arguments: str, stdin: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "error", **environment}
    command = [sys.executable, "-W", "ignore", "-m", "pellucid", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=env, timeout=120, cwd=cwd)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """As `run`, in this process."""

    def run_here(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr("sys.argv", ["pellucid", *arguments])
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(stdin.encode())))
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return subprocess.CompletedProcess(arguments, int(stop.value.code or 0), *capfd.readouterr())

    return run_here


def test_explain_shows_the_words_and_the_sum() -> None:
    done = run("explain", "It's great!")
    assert done.returncode == 0 and done.stderr == ""
    for part in ("positive", "great", "deeplift", "mask", "residual", "output"):
        assert part in done.stdout


def test_json_is_one_document_and_nothing_else(bundled: pellucid.Model) -> None:
    done = run("explain", "It's great!", "a dull film", "--json", "--target", "positive", "--baseline", "pad")
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    assert document["schema_version"] == 1
    first, second = (Explanation.from_dict(d) for d in document["explanations"])
    same = pellucid.explain(bundled, "It's great!", target="positive", baseline="pad")
    assert first.scores.tolist() == pytest.approx(same.scores.tolist(), abs=1e-5)
    assert (first.text, second.text, second.target.name) == ("It's great!", "a dull film", "positive")


def test_texts_from_a_file_and_from_standard_input(here: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a good film\n\nun film génial\n", "utf-8")
    done = here("explain", "-", "--file", str(tmp_path / "texts.txt"), "--json", stdin="first\nsecond\n")
    texts = [e["text"] for e in json.loads(done.stdout)["explanations"]]
    assert texts == ["first", "second", "a good film", "un film génial"]


def test_pairs_methods_targets_and_options(here: Run, tmp_path: Path) -> None:
    done = here(
        "explain", "a good film", "--pair", "so bad", "--method", "deeplift", "--method", "integrated_gradients",
        "--target", "positive", "--target", "negative", "-o", "n_steps=7", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)["explanations"]
    assert [(e["target"]["name"], e["method"]) for e in found] == [
        ("positive", "deeplift"),
        ("positive", "integrated_gradients"),
        ("negative", "deeplift"),
        ("negative", "integrated_gradients"),
    ]
    assert found[1]["passes"] == 9 and found[0]["text"] == ["a good film", "so bad"]
    page = tmp_path / "page.html"
    assert here("explain", "who won?", "--context", "we won", "--html", str(page)).returncode == 0
    assert all(word in page.read_text("utf-8") for word in ("who", "won", "we"))
    assert here("explain", "a film", "--save", str(tmp_path / "a.csv")).returncode == 0
    assert "token" in (tmp_path / "a.csv").read_text("utf-8")


def test_methods_lists_them(here: Run) -> None:
    done = here("methods")
    assert done.returncode == 0 and all(name in done.stdout for name in pellucid.METHODS)
    rows = json.loads(here("methods", "--json").stdout)["methods"]
    assert {r["name"]: r["options"] for r in rows}["integrated_gradients"]["tol"] == 0.01


@pytest.mark.parametrize(
    ("code", "part", "arguments"),
    [
        (2, "is empty", ["explain", ""]),
        (2, "truncate", ["explain", "good " * 600]),
        (2, "'negative', 'positive'", ["explain", "a film", "--target", "happy"]),
        (2, "deeplift", ["explain", "a film", "--method", "magic"]),
        (2, "mask, pad, zero, mean", ["explain", "a film", "--baseline", "no such thing here"]),
        (2, "NAME=VALUE", ["explain", "a film", "-o", "n_steps"]),
        (2, "segments=1", ["explain", "a film", "-o", "n_steps=3"]),
        (2, "more than once", ["explain", "a film", "--save", "x.html", "--html", "x.html"]),
        (2, ".json", ["explain", "a film", "--json=x.txt"]),
        (2, "'negative', 'positive'", ["explain", "a film", "--true", "happy"]),
        (2, "once for each text", ["explain", "a", "b", "c", "--true", "0", "--true", "1"]),
        (2, "another text", ["explain", "a film", "--chat", "user: hello"]),
        (2, "first line of a conversation", ["explain", "--chat", "chat.txt"]),
        (2, "no-such-chat", ["explain", "--chat", "no-such-chat.json"]),
        (2, "norms", ["explain", "a film", "--detail", "everything"]),
        (2, "did you mean 'explain'", ["explian", "a film"]),
        (2, ".html", ["explain", "a film", "--html", "x.txt"]),
        (2, "UTF-8", ["explain", "--file", "no-such-file.txt"]),
        (2, "no text", ["explain", "-"]),
        (2, "nosuchdirectory", ["explain", "a film", "--save", "nosuchdirectory/x.html", "--model", "./no-such-model"]),
        (2, ".html", ["explain", "a film", "--html", "x.htm"]),
        (2, "Use --target", ["explain", "a film", "-o", "target=1"]),
        (2, "Use --detail", ["explain", "a film", "-o", "detail=heads"]),
        (2, "not UTF-8", ["explain", "a \udcff film"]),
        (2, "text-classification", ["explain", "a film", "--task", "magic"]),
        (2, "no directory", ["explain", "a film", "--model", "./no-such-model"]),
        (2, "no run", ["summary", "./no-such-run"]),
        (2, "no file", ["run", "no-such-file.csv", "--out", "x"]),
        (2, "No such option", ["explain", "a film", "--nonsense"]),
        (2, "No such command", ["explode"]),
    ],
)
def test_every_error_is_one_line_and_an_exit_code(
    code: int, part: str, arguments: list[str], here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "chat.txt" in arguments:
        (tmp_path / "chat.txt").write_text("hello there\n")
    done = here(*arguments)
    (tmp_path / "chat.txt").unlink(missing_ok=True)
    assert done.returncode == code, done.stderr
    assert part in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    usage = part in ("No such option", "No such command")  # said in a box by what parses the command line
    assert usage or (done.stderr.startswith("pellucid: ") and done.stderr.count("\n") == 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["explain", "a film", "--html", "x.txt"], ["explain", "a film", "--model", "./no-such-model"]],
)
def test_errors_in_a_process_of_their_own(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("pellucid: ") and list(tmp_path.iterdir()) == []


def test_a_text_alone_is_explained(here: Run) -> None:
    alone, asked = here("It's great", "--target", "negative"), here("explain", "It's great", "--target", "negative")
    assert alone.returncode == 0 and alone.stdout == asked.stdout and "negative" in alone.stdout
    assert here("-", stdin="a good film\n").stdout == here("explain", "a good film").stdout
    assert here("check", "--help").stdout != here("explain", "--help").stdout


def test_any_number_of_files_from_one_run(here: Run, tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in ("a.json", "b.json", "a.html", "b.html", "a.csv", "c.json")]
    options = ["--json", names[0], "--json", names[1], "--html", names[2], "--html", names[3], "--save", names[4]]
    done = here("explain", *options, "--save", names[5], "--json", "a film")
    assert done.returncode == 0 and sorted(p.name for p in tmp_path.iterdir()) == sorted(Path(n).name for n in names)
    assert done.stderr.split("\n")[:-1] == [f"wrote {names[i]}" for i in (0, 1, 2, 3, 4, 5)]
    printed, first, second = json.loads(done.stdout), *(json.loads(Path(n).read_text("utf-8")) for n in names[:2])
    assert printed == first == second and printed["explanations"][0]["text"] == "a film"
    quiet = here("explain", "a film", "--json", names[0])
    assert quiet.returncode == 0 and quiet.stdout == ""


def test_the_true_label_stands_beside_the_predicted(here: Run) -> None:
    done = here("explain", "a good film", "a bad film", "--true", "POSITIVE", "--true", "1", "--json")
    found = json.loads(done.stdout)["explanations"]
    assert [e["label"] for e in found] == ["positive", "positive"]
    assert [e["prediction"] for e in found] == ["positive", "negative"]
    assert "true label negative" in here("explain", "a good film", "--true", "negative").stdout


def test_details_are_asked_for_by_name(here: Run, bundled: pellucid.Model) -> None:
    done = here("explain", "a film", "--detail", "heads,norms", "--detail", "parts", "--layers", "--json")
    (found,) = json.loads(done.stdout)["explanations"]
    asked = pellucid.explain(bundled, "a film", detail=("heads", "norms", "parts", "layers"))
    assert np.allclose(found["heads"], asked.heads, atol=1e-5) and found["layers"] and found["parts"]
    assert found["measures"].keys() == asked.measures.keys()


def test_messages_as_json_and_as_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!\n\nWho: you?"}]
    lines = "System: Be brief.\nuser: Hello!\n\nWho: you?\n"
    assert messages_of(lines) == messages_of(json.dumps(asked)) == messages_of(json.dumps({"messages": asked})) == asked
    (tmp_path / "chat.json").write_text(json.dumps(asked), "utf-8")
    for chat in (str(tmp_path / "chat.json"), "-", lines):
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(lines.encode())))
        (found,) = read_inputs([], None, chat=chat, continuation="I am.")
        assert found == {"messages": asked, "continuation": "I am."}
    whole = json.dumps({"messages": asked, "tools": [{}], "continuation": "I am."})
    assert read_inputs([], None, chat=whole) == [json.loads(whole)]
    with pytest.raises(pellucid.errors.InputError, match="continuation in --chat and as an option"):
        read_inputs([], None, chat=whole, continuation="I was.")


def test_a_chat_and_a_continuation_of_a_language_model(here: Run, tmp_path: Path) -> None:
    made = generative.generator("GPT2")
    made.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    made.model.save_pretrained(tmp_path)
    made.tokenizer.save_pretrained(tmp_path)
    done = here("explain", "--chat", "user: the good film", "-m", str(tmp_path), "--max-new-tokens", "2", "--json")
    found = json.loads(done.stdout)["explanations"]
    assert done.returncode == 0 and len(found) == 2 and found[0]["text"][0] == "the good film"
    given = here("explain", "the good", "--continuation", " film", "-m", str(tmp_path), "--json")
    assert [e["text"] for e in json.loads(given.stdout)["explanations"]] == [["the good", " film"]]


def test_a_shell_completes_commands_and_details() -> None:
    def completed(words: str) -> str:
        asked = {"_PELLUCID_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        main = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "import sys; sys.argv[0] = 'pellucid'; from pellucid.cli import main; main()",
        ]
        return subprocess.run(main, capture_output=True, text=True, env={**os.environ, **asked}, timeout=60).stdout

    assert completed("pellucid exp").split() == ["explain"]
    assert set(completed("pellucid explain --detail at").split()) == {"attentions", "attention_x_gradient"}


def test_groups_and_probabilities(here: Run) -> None:
    done = here(
        "explain", "It's great!", "--method", "shapley", "--groups", "word", "--output", "probability", "--json"
    )
    (found,) = json.loads(done.stdout)["explanations"]
    assert found["output"] == pytest.approx(found["probability"], abs=1e-6)
    assert (found["meta"]["groups"], found["meta"]["output"], found["passes"]) == ("word", "probability", 32)
    sums = json.loads(here("explain", "It's great!", "--groups", "sentence", "--json").stdout)["explanations"][0]
    assert (sums["meta"]["groups"], sums["method"]) == ("sentence", "deeplift")  # of exact scores groups are sums


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("\ufefffirst\r\nsecond\rthird\n", ["first", "second", "third"]),
        ("one\u2028still one\x0cstill\x85one\n", ["one\u2028still one\x0cstill\x85one"]),
    ],
)
def test_a_line_ends_with_a_line_feed_only(content: str, texts: list[str]) -> None:
    assert console.lines_of(content.encode(), "here") == texts
    with pytest.raises(InputError, match="Could not read here as UTF-8"):
        console.lines_of(b"good \xff", "here")


@pytest.mark.skipif(sys.platform != "linux", reason="arguments are bytes here")
def test_an_argument_is_utf8_whatever_the_locale() -> None:
    assert console.argument("naïve 😀") == "naïve 😀"
    assert console.argument("naïve".encode().decode("ascii", "surrogateescape")) == "naïve"
    with pytest.raises(InputError, match="not UTF-8"):
        console.argument("bad \udcff")


def test_an_output_of_few_letters_gets_every_number_and_sign() -> None:
    done = run("explain", "naïve 😀 bad", "--target", "positive", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stderr == "" and done.stdout.isascii()
    assert r"na\xefve \U0001f600 bad" in done.stdout and re.search(r"bad +#+\|  +-\d\.\d+", done.stdout)
    found = json.loads(run("explain", "naïve 😀", "--json", PYTHONIOENCODING="ascii").stdout)["explanations"]
    assert found[0]["text"] == "naïve 😀"


@pytest.mark.parametrize("width", ["0", "1", "8", "20"])
def test_a_narrow_terminal_loses_no_digits(width: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", width)
    e = pellucid.Explanation(
        "a long-winded film", (pellucid.Token("long-winded", 1, (2, 13), word=0),), np.array([-12.25]),
        pellucid.Target("positive"), "deeplift", "mask", 0.0, 12.25, 0.0,
    )  # fmt: skip
    console.show(e)
    assert "−12.25" in capsys.readouterr().out


def test_a_failure_is_a_document_too(here: Run) -> None:
    for command, name in ((["explain", "a film", "--model"], "explanations"), (["check"], "problems")):
        done = here(*command, "./no-such-model", "--json")
        document = json.loads(done.stdout)
        assert done.returncode == 2 and "no directory" in done.stderr
        assert document["schema_version"] == 1
        if name == "explanations":
            assert document["explanations"] == [] and "no directory" in document["error"]["message"]
        else:
            assert document["passed"] is False and "no directory" in document["problems"][0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_an_output_that_cannot_be_written_is_one_line() -> None:
    for how, said in (("> /dev/full", "No space left"), (">&-", "output is closed")):
        command = f"{sys.executable} -m pellucid methods {how}"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error_message() -> None:
    command = f"{sys.executable} -m pellucid explain 'a film' --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == "{" and "Traceback" not in done.stderr


def test_help_and_version() -> None:
    shown = run("--help").stdout
    assert all(re.search(rf"^\W*{name}  +\w", shown, re.M) for name in ("explain", "check", "methods"))
    assert run("--version").stdout.strip() == f"pellucid {pellucid.__version__}"


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.progress_bar(20) as tell:
        tell(Progress(5, 20, 1230, 4.0, 75.2))
    assert re.search(r"5/20.*texts · 1,230 passes · 1:15 left", capsys.readouterr().err)
    assert [console.time_left(s) for s in (None, 3.4, 7384)] == ["", "0:03 left", "2:03:04 left"]
    with console.progress_bar(1) as tell:
        assert tell is None


def on_a_terminal(*arguments: str, columns: int = 80) -> tuple[list[tuple[float, str]], float, str]:
    """What the command writes on standard error where that is a terminal, piece by piece with the seconds since the
    start; the seconds in all; and its standard output, a pipe."""
    import fcntl
    import pty
    import struct
    import termios
    import time

    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    start = time.monotonic()
    command = [sys.executable, "-W", "ignore", "-m", "pellucid", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its, text=True, env=env) as process:
        os.close(its)
        pieces: list[tuple[float, str]] = []
        while True:
            try:
                piece = os.read(mine, 4096)
            except OSError:  # the other end of a terminal is closed
                break
            if not piece:
                break
            pieces.append((time.monotonic() - start, piece.decode()))
        out, _ = process.communicate(timeout=120)
    os.close(mine)
    return pieces, time.monotonic() - start, out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_is_told_at_once_what_is_loaded() -> None:
    pieces, whole, out = on_a_terminal("explain", "a good film")
    assert pieces[0][1].startswith("\rloading torch, transformers and the bundled classifier …")
    assert pieces[0][0] < whole / 2  # long before the answer, which takes seconds
    written = "".join(piece for _, piece in pieces)
    assert written.endswith("\r\x1b[2K") and "\n" not in written and "positive" in out and "loading" not in out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_is_left_alone_where_a_document_is_wanted() -> None:
    pieces, _, out = on_a_terminal("explain", "a good film", "--json")
    assert pieces == [] and json.loads(out)["schema_version"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_the_line_is_one_line_and_gone_before_an_error() -> None:
    pieces, _, out = on_a_terminal("explain", "a film", "--model", "/home/someone/none-such-\x1b[31m-model", columns=40)
    written = "".join(piece for _, piece in pieces)
    line, rest = written.split("\r\x1b[2K", 1)
    assert len(line.lstrip("\r")) <= 39 and "\x1b" not in line and "/home" not in line
    assert rest.startswith("pellucid: ") and out == ""
