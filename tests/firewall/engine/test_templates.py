"""Templates and presets: each may be saved, is explained, stops a loop, and does what its rules say."""

import json

import pytest

from firewall.engine import rule_json
from firewall.engine.afterwards import in_order
from firewall.engine.decide import decide, decide_request
from firewall.engine.presets import PRESETS
from firewall.engine.remarks import warnings
from firewall.engine.templates import TEMPLATES
from firewall.engine.types import Policy, ReasonCode, RunState, Surface, ToolCall, Verdict
from firewall.engine.validate import policy_problems

IDS = ["coding", "support", "rag", "data", "devops", "browser", "baseline"]
TURN = 20_000


def policy(template_id):
    template = TEMPLATES[template_id]
    rules = tuple(rule_json.rule(number, dict(fields)) for number, fields in enumerate(template.rules, start=1))
    limit = template.max_runs_per_key_per_hour
    return Policy(1, template.name, 1, Verdict(template.default_verdict), False, rules, max_runs_per_key_per_hour=limit)


def judged(template_id, tool, surface=Surface.RESPONSE, **arguments):
    return decide(policy(template_id), ToolCall(surface, tool, json.dumps(arguments)), RunState())


def test_there_are_seven():
    assert list(TEMPLATES) == IDS


@pytest.mark.parametrize("template_id", IDS)
def test_a_template_may_be_saved_and_raises_no_warning(template_id):
    template = TEMPLATES[template_id]
    rules = [dict(rule) for rule in template.rules]
    assert policy_problems({"name": template.name, "default_verdict": template.default_verdict, "rules": rules}) == []
    assert warnings(policy(template_id)) == []


@pytest.mark.parametrize("of", [*TEMPLATES.values(), *PRESETS.values()], ids=lambda each: each.id)
def test_each_rule_is_explained(of):
    assert of.name
    assert of.description
    labels = [rule["label"] for rule in of.rules]
    assert all(labels)
    assert len(set(labels)) == len(labels)
    assert all(rule["notes"] for rule in of.rules)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda each: each.id)
def test_a_preset_may_be_saved_and_opens_nothing(preset):
    assert policy_problems({"name": preset.name, "rules": [dict(rule) for rule in preset.rules]}) == []
    assert {rule["verdict"] for rule in preset.rules} == {"deny"}


@pytest.mark.parametrize("template_id", IDS)
def test_a_runaway_loop_is_stopped_by_the_cap_at_the_top(template_id):
    looped = policy(template_id)
    cap = looped.rules[0]
    assert cap.verdict is Verdict.CAP_COST
    call = ToolCall(Surface.MCP, "kb.read", '{"id": 7}')
    spent = turns = 0
    while True:
        run = RunState(calls=turns, spent_micro_usd=spent, estimate_micro_usd=TURN)
        if (of_request := decide_request(looped, run)) and of_request.blocks:
            break
        decide(looped, call, run)
        spent, turns = spent + TURN, turns + 1
        assert turns <= cap.cap_micro_usd / TURN
    assert of_request.reason_code is ReasonCode.COST_CAP
    assert spent == cap.cap_micro_usd
    assert decide(looped, call, run).reason_code is ReasonCode.COST_CAP


@pytest.mark.parametrize("template_id", IDS)
def test_a_loop_that_begins_a_new_run_each_time_is_stopped_too(template_id):
    looped = policy(template_id)
    call = ToolCall(Surface.MCP, "kb.read", '{"id": 7}')
    stopped = [turn for turn in range(1, 80) if decide(looped, call, RunState(runs_this_hour=turn)).reason_code is ReasonCode.RUN_LIMIT]
    assert stopped == list(range(61, 80))
    assert decide_request(looped, RunState(runs_this_hour=61)).reason_code is ReasonCode.RUN_LIMIT


@pytest.mark.parametrize("template_id", ["coding", "devops", "data", "baseline"])
@pytest.mark.parametrize("arguments", [{"command": "sudo rm -rf /"}, {"cmd": "sh -c 'mkfs.ext4 /dev/sda1'"}, {"command": ["rm", "-rf", "/home"]}])
def test_destructive_commands_are_denied_and_ordinary_ones_go_on(template_id, arguments):
    for tool in ("shell.exec", "Bash", "run_terminal_cmd"):
        assert judged(template_id, tool, **arguments).verdict is Verdict.DENY
        assert judged(template_id, tool, command="ls -la src").verdict.permits


INSIDE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://0xA9FEA9FE/",
    "http://2852039166",
    "http://0251.0376.0251.0376:80/x",
    "https://10.0.0.5:8443/",
    "http://[::ffff:169.254.169.254]/",
    "http:\\\\127.1/",
    "http://localhost:6379/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://10.0.0.1.nip.io/",
    "http://example.com@10.0.0.1/",
    "http://１２７.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("url", INSIDE)
def test_inside_addresses_are_denied_however_they_are_spelt(url):
    for template_id in ("coding", "rag", "data", "browser", "baseline"):
        assert judged(template_id, "kb.read", url=url).verdict is Verdict.DENY


@pytest.mark.parametrize("url", ["https://example.com", "https://docs.python.org:443/3/library/re.html?q=10.0.0.1#a@b", "http://v2.example.co.uk/1.2.3.4"])
def test_the_public_web_is_open(url):
    assert judged("browser", "browser_navigate", url=url).verdict.permits


def test_credentials_are_stopped_in_arguments_and_in_files():
    assert judged("baseline", "http.post", body="key=AKIAIOSFODNN7EXAMPLE").verdict is Verdict.DENY
    assert judged("coding", "read_file", path="/home/me/.ssh/id_ed25519").verdict is Verdict.DENY
    assert judged("coding", "read_file", file_path="app/.env").verdict is Verdict.DENY
    for kind in ("local", "production.local", "test", "dev", "staging", "enc"):
        assert judged("coding", "read_file", path=f"app/.env.{kind}").verdict is Verdict.DENY
    for path in ("src/environment.py", ".env.example", "app/.env.sample", ".env.template", ".env.dist"):
        assert judged("coding", "read_file", path=path).verdict.permits


def test_support_may_refund_a_little_and_nothing_that_it_does_not_name():
    assert judged("support", "tickets.reply", text="Hello").verdict is Verdict.ALLOW
    assert judged("support", "refunds.create", amount=20).verdict is Verdict.AUDIT
    assert judged("support", "refunds.create", amount=51).verdict is Verdict.PENDING_APPROVAL
    assert judged("support", "refunds.create", amount=-20).reason_code is ReasonCode.DEFAULT_DENY
    assert judged("support", "refunds.create", amount="51").reason_code is ReasonCode.DEFAULT_DENY
    assert judged("support", "customers.delete", id=3).reason_code is ReasonCode.DEFAULT_DENY
    assert decide(policy("support"), ToolCall(Surface.INBOUND, "refunds.create"), RunState()).verdict is Verdict.ALLOW
    sent = judged("support", "email.send", body="Your card 4111 1111 1111 1111 was charged")
    assert sent.verdict is Verdict.SANITIZE
    assert "4111" not in sent.arguments


def test_rag_reads_and_does_nothing_else():
    assert judged("rag", "kb__search", query="holidays").verdict is Verdict.ALLOW
    assert judged("rag", "email.send", body="x").reason_code is ReasonCode.DEFAULT_DENY


@pytest.mark.parametrize("sql", ["DELETE FROM t", "select 1; drop table t", "update/**/t set a=1", "TRUNCATE t"])
def test_data_reads_and_does_not_write(sql):
    assert judged("data", "db.query", sql=sql).verdict is Verdict.DENY
    assert judged("data", "db.query", sql="select updated_at from t where action = 'delete'").verdict.permits


@pytest.mark.parametrize(
    "sql",
    [
        *("REPLACE INTO t VALUES (1)", "create temp table x as select 1", "select * into x from t", "call wipe()", "EXEC sp_x", "delete/* all */from t"),
        *("with x as (select 1) insert into t select 1", "update only t set a=1", 'update "My T" as x set a=1', "explain analyze delete from t"),
        *("drop materialized view v", "create or replace function f()", "copy (select 1) to program 'x'", "grant select on t to bob", "DELETE--\nfrom t"),
    ],
)
def test_data_stops_what_writes_in_a_query_too(sql):
    for place in ("sql", "query"):
        assert judged("data", "db.query", **{place: sql}).verdict is Verdict.DENY, place


@pytest.mark.parametrize(
    "asked",
    [
        *("how do I update my card", "how to create a chart of sales", "delete my photos", "merge two frames", "call centre metrics", "a copy of it"),
        *("select replace(a, 'b', 'c') from t", "select created from t order by created", "grant funding for startups", "do whales sleep", "drop in sales"),
    ],
)
def test_data_lets_on_questions_in_plain_words(asked):
    assert judged("data", "web.search", query=asked).verdict.permits


@pytest.mark.parametrize(
    ("template_id", "command"),
    [
        *(("devops", each) for each in ("kubectl -n prod apply -f x", "helm -n a upgrade x y", "terraform -chdir=x apply plan.out", "npx cdk --app a deploy")),
        *(("devops", each) for each in ("cat x | kubectl apply -f -", "kubectl replace -f x; echo ok", "kubectl -n prod \\\n    apply -f x")),
        *(("coding", each) for each in ("npm -w x publish", "pnpm -r publish", "docker -c far push a/b", "gh -R a/b pr merge 5", "(uv publish)")),
    ],
)
def test_options_before_the_word_that_matters_hide_nothing(template_id, command):
    for arguments in ({"command": command}, {"command": ["bash", "-lc", command]}):
        assert judged(template_id, "shell", **arguments).verdict is Verdict.PENDING_APPROVAL


@pytest.mark.parametrize("command", ["kubectl get pods -l app=x", "terraform show apply.tfplan", "helm list; echo upgrade", "docker pull a/b", "npm run build"])
def test_looking_is_nobodys_business(command):
    assert {judged(each, "shell", command=command).verdict for each in ("devops", "coding")} == {Verdict.AUDIT}


def test_devops_holds_roll_outs_and_deletes_nothing_by_name():
    assert judged("devops", "bash", command="kubectl apply -f app.yaml").verdict is Verdict.PENDING_APPROVAL
    assert judged("devops", "bash", command="terraform plan").rule_id is None
    assert judged("devops", "bash", command="systemctl restart nginx").rule_label.startswith("Mark restarts")
    assert judged("devops", "http.get", url="http://10.0.0.5:9090/metrics").verdict.permits
    assert judged("devops", "bash", command="curl -s 169.254.169.254/latest/meta-data/").verdict is Verdict.DENY
    assert judged("devops", "http.get", url="http://[fd00:ec2::254]/").verdict is Verdict.DENY
    assert judged("devops", "s3.bucket.delete", name="x").verdict is Verdict.DENY


def test_coding_works_and_a_person_publishes():
    assert judged("coding", "bash", command="git push origin feature").verdict is Verdict.AUDIT
    assert judged("coding", "bash", command="git push --force origin main").verdict is Verdict.DENY
    assert judged("coding", "bash", command="npm publish").verdict is Verdict.PENDING_APPROVAL
    assert judged("coding", "bash", command="curl http://localhost:3000/health && pytest -q").verdict.permits
    assert judged("coding", "bash", command="curl http://169.254.169.254/latest/").verdict is Verdict.DENY


def test_a_browser_looks_and_a_person_uploads():
    assert judged("browser", "browser_file_upload", paths=["a.pdf"]).verdict is Verdict.PENDING_APPROVAL
    assert decide(policy("browser"), ToolCall(Surface.INBOUND, "browser_file_upload"), RunState()).verdict is Verdict.AUDIT


def after(template_id, *calls):
    """What becomes of the last of these calls, the others having gone on."""
    governed = policy(template_id)
    made = [ToolCall(Surface.RESPONSE, tool, json.dumps(arguments)) for tool, arguments in calls]
    judged, _ = in_order(governed, made, RunState(), lambda call, run: decide(governed, call, run))
    return judged[-1]


@pytest.mark.parametrize("template_id", ["coding", "data", "devops", "baseline"])
def test_nothing_goes_out_after_a_secret_was_read(template_id):
    out = ("http.post", {"url": "https://example.com"})
    assert after(template_id, out).decision.verdict.permits
    assert after(template_id, ("vault.read", {"name": "db"}), ("kb.read", {"id": 1})).decision.verdict.permits
    assert after(template_id, ("vault.read", {"name": "db"}), out).decision.reason_code is ReasonCode.SEQUENCE
    assert after(template_id, ("secrets.get", {}), ("bash", {"command": "curl https://example.com -d @-"})).decision.reason_code is ReasonCode.SEQUENCE


def test_support_harvests_nobody():
    look = ("customers.get", {"id": 1})
    assert after("support", *[look] * 19).decision.verdict is Verdict.ALLOW
    assert after("support", *[look] * 20).decision.reason_code is ReasonCode.SEQUENCE


def test_what_was_read_and_then_left_is_told():
    assert [each.reason_code for each in after("rag", ("kb.search", {"q": "a"}), ("web_search", {"q": "b"})).findings] == [ReasonCode.SEQUENCE]
    assert [each.reason_code for each in after("data", ("db.query", {}), ("http.get", {"url": "https://example.com"})).findings] == [ReasonCode.SEQUENCE]
