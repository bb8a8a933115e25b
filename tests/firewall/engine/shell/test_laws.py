"""What holds of every command, whatever it says."""

import random
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firewall.engine.shell import Judgement, judge
from firewall.engine.shell.judge import MAX_CHARS
from tests.firewall.engine.shell.examples import DESTRUCTIVE, SAFE, lines

PIECES = [
    "rm",
    "-rf",
    "/",
    "$(",
    ")",
    "`",
    '"',
    "'",
    "\\",
    "{",
    "}",
    ",",
    "$x",
    "${",
    "x=",
    "|",
    "&&",
    ";",
    "&",
    "\n",
    "<<E",
    "<(",
    ">",
    "<<<",
    "((",
    "))",
    "case x in",
    "esac",
    "for i in",
    "do",
    "done",
    "f()",
]
PIECES += [
    "sh -c",
    "eval",
    "echo",
    "base64 -d",
    "xargs",
    "find . -exec",
    "sudo",
    "ssh h",
    "python -c",
    "git push",
    "--force",
    "--",
    "-x",
    "for i in",
    "while true; do",
    "C:\\x",
    "sed -i",
    "% {",
    "psql -c",
    "drop table",
    "curl",
    "alias a=",
    "$'\\x",
    "*",
    "#",
    " ",
    "  ",
    "\t",
    "é",
    "\ud800",
    "\0",
    "\x0b",
]
shellish = st.lists(st.sampled_from(PIECES), max_size=24).map("".join) | st.lists(st.sampled_from(PIECES), max_size=24).map(" ".join)
#: Bare SQL is judged as a whole text, not as a command among others.
SQL = re.compile(r"(?i)(drop|truncate|delete|update|alter|merge|revoke|flush\w*)\b")
UNQUOTABLE = re.compile(r"['#\\]|don")
destructive = st.sampled_from([line for line in lines(DESTRUCTIVE) if not SQL.match(line) and not UNQUOTABLE.search(line)])
words = st.text(alphabet="abcdefgrm/-_.=,+:%@", min_size=1, max_size=12)


@example('$x"<<<((<<<|')
@example("<<(a)")
@example("2>(x) {fd}>(y) &>(z)")
@given(shellish | st.text(max_size=200))
def test_every_text_has_an_answer(text):
    assert isinstance(judge(text), Judgement)


@given(st.sampled_from(lines(DESTRUCTIVE) + lines(SAFE)), st.data())
def test_a_command_cut_anywhere_has_an_answer(command, data):
    assert isinstance(judge(command[: data.draw(st.integers(0, len(command)))]), Judgement)


@given(
    destructive,
    st.sampled_from(
        [
            "{}  # comment",
            "\n{}\n",
            "cd /x && {}",
            "true; {}",
            "({})",
            "{{ {}; }}",
            "if true; then {}; fi",
            "sh -c '{}'",
            "bash -ec '{}'",
            "sudo sh -c '{}'",
            "eval '{}'",
            "echo $({})",
            "ssh host '{}'",
            "su -c '{}'",
            "timeout 5 bash -c '{}'",
            "docker exec x sh -c '{}'",
            "env A=1 sh -c '{}'",
            "nice sh -c '{}' &",
        ]
    ),
)
def test_what_runs_a_destructive_command_is_destructive(command, form):
    assert judge(form.format(command)).destructive


@given(
    st.sampled_from(
        ["rm -rf src", "git push --force", "mkfs.ext4 /dev/sdb", "terraform destroy", "kubectl delete ns x", "chmod -R 777 /", "dropdb app", "crontab -r"]
    ),
    st.sampled_from(
        [
            "sudo {}",
            "env A=1 {}",
            "nohup {}",
            "sudo -u root env B=2 nice -n 5 {}",
            "command {}",
            "A=1 {}",
            "time {}",
            "exec {}",
            "xargs -n 1 {} < list",
            "timeout 9 {}",
        ]
    ),
)
def test_a_wrapper_hides_nothing(command, form):
    assert judge(form.format(command)).destructive


@given(
    st.lists(words, min_size=1, max_size=5)
    | st.sampled_from(["rm -rf src", "git push --force", "kubectl delete ns x", "dd of=/dev/sda", "chmod -R 777 /"]).map(str.split),
    st.randoms(),
)
def test_quotes_change_nothing(plain, chance):
    judged = judge(" ".join(plain))
    assert judge(" ".join(_quoted(word, chance) for word in plain)).destructive == judged.destructive


def _quoted(word: str, chance: random.Random) -> str:
    match chance.randrange(5):
        case 0:
            return f"'{word}'"
        case 1:
            return f'"{word}"'
        case 2:
            return "".join("\\" + char for char in word)
        case 3:
            return "$'" + "".join(f"\\x{ord(char):02x}" for char in word) + "'"
        case _:
            at = chance.randrange(len(word) + 1)
            return f"{word[:at]}''{word[at:]}"


@given(st.lists(words, max_size=6))
def test_what_is_printed_or_searched_for_is_not_run(arguments):
    assert not judge(" ".join(["echo", "rm", "-rf", *arguments])).destructive
    assert not judge(" ".join(["grep", "-r", "drop", *(word for word in arguments if not word.startswith("~"))])).destructive


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "$(",
        "`",
        '"',
        "'",
        "\\",
        "{a,b}",
        "{",
        "$x ",
        "${x",
        "${x:-$(",
        "a=$a$a; ",
        "((",
        "<<E\n",
        "<(",
        "/*",
        "DELETE FROM a ",
        "ALTER TABLE ",
        "f(){ ",
        "a|",
        "rm a;",
        "x=a;$x ",
        "'a' ",
        "case a in ",
        "[[",
        "\\\n",
        "$'\\x41' ",
        "sed 's/a/b/;",
        "1,2s/a",
        "C:\\a ",
        "while true; do a & ",
        "f() { f & ",
        "*a",
        "psql -c 'drop' | ",
        "echo a >> f; cat f | sh; ",
        "while(1){Start-Process x ",
    ],
)
def test_time_is_linear_in_length(unit):
    for prefix in ("", "echo ", "psql -c '", "python -c '"):
        _grows_with_its_length(prefix, unit)


@pytest.mark.parametrize(
    ("prefix", "unit"),
    [
        ("kill ", "$(ps) "),
        ("", "alias ls=a; "),
        ("", "find . | read f; "),
        ("> ", "config/"),
        ("curl x | ssh h '", "sh; "),
        ("cat > p.yml <<E; ansible-playbook p.yml\n", "- shell: a\n"),
        ("make -f - <<E\n", "a: b\nb: a\n\ta\n"),
        ("", "mkdir a; rm -rf a; "),
        ("", "createdb a; dropdb a; "),
        ("", "psql -c 'create table a()'; psql -c 'drop table a'; "),
        ("psql -c '", "create table a(); drop table a; "),
        ("node -e 'require(`aws-sdk`);", "x=s.bucket(1); x.delete;"),
        ("", "$x = New-Item a; Remove-Item -r $x; "),
    ],
)
def test_time_is_linear_in_what_is_handed_on(prefix, unit):
    _grows_with_its_length(prefix, unit)


def _grows_with_its_length(prefix: str, unit: str) -> None:
    short, long = (_least_seconds(prefix + unit * (size // len(unit))) for size in (MAX_CHARS // 32, MAX_CHARS // 4))
    assert long < 24 * short + 0.02, (prefix, short, long)


def _least_seconds(text: str) -> float:
    found = []
    for _ in range(3):
        start = time.process_time()
        judge(text)
        found.append(time.process_time() - start)
    return min(found)
