"""What a program asks of clouds, stores and services through their libraries: the calls that delete, by the names they have in all of them."""

from __future__ import annotations

import re

import re2

from firewall.engine.shell.call import Call
from firewall.engine.shell.databases import MONGO
from firewall.engine.shell.types import Category, Finding, word_set

#: Clouds, clusters and stores.
_LIBRARY = re2.compile(
    r"(?i)\b(?:boto3?|botocore|aioboto\w*|aws-?sdk|aws::|google|azure|kubernetes|docker|dockerode|openstack\w*|pymongo|mongodb|mongoose|redis|ioredis|elasticsearch|opensearch\w*|qdrant\w*"
    r"|pinecone|weaviate|pymilvus|chromadb|meilisearch|algolia\w*|typesense|digitalocean|pydo|linode\w*|hcloud|pyvmomi|confluent_kafka|kafka\w*|pika|cloudflare\w*|hvac|consul|nomad|minio|b2sdk|supabase|firebase\w*)"
)
#: Services of others, whose things are deleted one by one and missed all the same.
_SERVICE = re2.compile(
    r"(?i)\b(?:stripe|braintree|squareup|square|paypal\w*|chargebee|recurly|sendgrid|mailgun|postmark\w*|mailchimp\w*|twilio|datadog\w*|newrelic|pagerduty|pdpyras|splunk\w*|launchdarkly\w*|auth0|okta\w*"
    r"|octokit|pygithub|github|gitlab|cloudflare\w*|hubspot|shopify\w*|zendesk|intercom|airtable|contentful\w*)\b"
)
_SERVICE_CALL = re2.compile(r"\.(?:delete|destroy|purge|remove)(?:_\w+|[A-Z]\w*)?!?\s*\(|\bdelete_\w+\s*\(|\.(?:Delete|Destroy)\s*\(")
_CALL = re2.compile(r"(?i)(?:\.|->|\bnew\s+)(delete|destroy|purge|terminate|drop|remove)_?([a-z_]*)\s*\(")
#: What is deleted in daily work: a message that was read, an entry by its key, a mark.
_DAILY = word_set(
    """
    many message messages item items object one tag tags marker cookie cookies comment label labels reaction attribute attributes attr listener eventlistener
    header headers child class element node row rows entry lock token prefix suffix handler file temp tempfile messagebatch
    """
)
#: What ``drop`` and ``remove`` take away as well; they are said of much else.
_STORED = word_set(
    "collection database db index table indexes indices all bucket user container containers volume image network objects stack service node cluster"
)
#: A thing of the cloud that is held by a variable: ``s3.Bucket("x").objects.all().delete()``.
_KINDS = r"(?:bucket|table|instance|volume|queue|topic|stack|cluster|securitygroup|vpc|snapshot|image|dataset|database|container)"
_HELD = re2.compile(
    rf"(?is)\b(?:object_versions|objects)\b(?:\.\w+\([^)]*\))*\.delete\s*\(|\b{_KINDS}\s*\([^)]*\)\.(?:delete|terminate)!?\s*(?:\(|$|;)"
    rf"|\b{_KINDS}s\.(?:all|filter|list)\s*\(.*\.(?:delete|terminate|remove)\s*\(|\binstances?\b.*\.terminate\(\)|\.(?:terminate|delete)\(\)\s+for\b.*\b{_KINDS}s\.(?:all|filter|list)\s*\(|\bindices\.delete\b|\bschedule_key_deletion\b|\.flush(?:all|db)\b"
    r"|\bremove\s*\(\s*force\s*=\s*True"
)
#: The same in two steps: first into a variable.
_KEPT = re2.compile(rf"(?im)\b(\w+)\s*=[^\n;]*\b{_KINDS}\s*\([^)\n]*\)\s*(?:$|;)")
_METHOD = re2.compile(r"\b\w+\.(?:delete|terminate)\b")
_COMMAND_OBJECT = re.compile(r"\bnew\s+((?:Delete|Terminate|Purge|ScheduleKeyDeletion|Deregister)(\w*))Command\b")
#: Everything in the environment, put together to be sent, and what sends it.
_ENVIRONMENT = re2.compile(
    r"\bos\.environ\.(?:items|copy|values)\s*\(|\b(?:dict|str|repr|dumps|urlencode)\s*\(\s*(?:dict\s*\()?\s*os\.environ\s*\)|=\s*os\.environ\s*[,)]"
    r"|\bstringify\s*\(\s*process\.env\s*[,)]|Object\.entries\(process\.env\)|\bENV\.(?:to_h|to_a|each|map|inspect|select)\b|%ENV\b|\bgetenv\(\)|\$_ENV\b|\bSystem\.getenv\(\)"
)
_SENDS = re2.compile(
    r"\b(?:urlopen|requests\.(?:post|put|get|request)|httpx\.\w+|aiohttp|urllib3|http\.client|fetch|axios|https?\.(?:request|get)|socket|Net::HTTP|LWP|curl_\w+|file_get_contents|HTTParty|Faraday|smtplib)\b"
)


def asked(text: str, call: Call) -> Finding | None:
    """What the calls in ``text`` delete elsewhere, or send there."""
    lower = text.lower()
    if "env" in lower and (found := _ENVIRONMENT.search(text)) and _SENDS.search(text):
        return Finding(Category.CREDENTIALS, found.group(0), "sends the environment away, which often holds credentials")
    if not any(verb in lower for verb in ("delete", "destroy", "purge", "terminate", "drop", "remove", "flush", "deletion")):
        return None
    options = " ".join(word for word in call.args if word.startswith("-") and len(word) < 80)
    if "mongo" in lower and (found := MONGO.search(text)):
        return Finding(Category.DATABASE, found.group(0).strip(". "), "drops or empties a collection")
    if (_SERVICE.search(text) or _SERVICE.search(options)) and (found := _SERVICE_CALL.search(text)):
        return Finding(Category.CLOUD, found.group(0).strip(". ("), "deletes what a service keeps")
    if not (_LIBRARY.search(text) or _LIBRARY.search(options)):
        return None
    if found := _HELD.search(text):
        return Finding(Category.CLOUD, found.group(0).lstrip(".")[-60:], "deletes what it manages")
    kept = {f"{found.group(1)}.{verb}" for found in _KEPT.finditer(text) for verb in ("delete", "terminate")}
    if kept and (called := next((found.group(0) for found in _METHOD.finditer(text) if found.group(0) in kept), "")):
        return Finding(Category.CLOUD, called, "deletes what it manages")
    for found in _CALL.finditer(text):
        verb, noun = found.group(1).lower(), found.group(2).replace("_", "").lower()
        if noun and (noun in _STORED if verb in ("drop", "remove") else noun not in _DAILY and not noun.startswith("message")):
            return Finding(Category.CLOUD, found.group(0).strip(".->( "), "deletes what it manages")
    for command in _COMMAND_OBJECT.finditer(text):
        if command[2].lower() not in _DAILY:
            return Finding(Category.CLOUD, command[1], "deletes what it manages")
    return None
