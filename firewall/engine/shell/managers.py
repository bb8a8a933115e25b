"""Programs that manage something elsewhere or for everyone: clouds, clusters, stores, queues, services, packages.

Most of them speak one grammar: nouns, then a verb. So the general rule is that
the first verb decides: ``velero backup delete`` deletes, ``kubectl get`` does not
whatever follows. Rows are for what that grammar does not say.
"""

from __future__ import annotations

import re

from firewall.engine.shell import paths
from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.system import CRITICAL_SERVICE
from firewall.engine.shell.trials import pretends
from firewall.engine.shell.types import Category, Finding, word_set

#: Verbs that mean it wherever they stand, for programs never heard of too.
_DESTROYS = word_set(
    """
    delete destroy purge wipe terminate nuke erase obliterate drop truncate teardown deleteall unpublish shred
    """
)
#: Verbs that mean it to programs that manage something.
_REMOVES = word_set(
    """
    remove rm del unset revoke clear reset prune uninstall disable deregister unregister empty detach yank flush flushall flushdb forget expunge rb rd rmi
    deletefile rmdir rmdirs cleanup undeploy removal deprovision decommission evict drain unlink rmp dissociate disassociate cancel-export abandon rotate-root
    unsubscribe
    """
)
#: The first of these ends the search: what follows is what it looks at or makes.
LOOKS = word_set(
    """
    get list ls describe show help version status explain view diff lookup inspect create add new init edit set put cp copy comment login whoami cat ps
    top tail can history validate lint install update upgrade up build pull fetch generate read enable completion stat du tree head query annotate label make g
    write simulate compile parse render preview
    """
)
#: So do these, where they are not the name of what is managed.
_SPARES_LATER = word_set("deploy send publish invoke submit call start restart connect begin")
#: Parts of words that make something, whatever it is named for: ``ecto.gen.migration drop_users``.
_MAKES = word_set("gen generate migration scaffold")
#: What begins with one of these is a name: ``deny-delete``, ``before-purge``, ``pre-drop``.
_NAMES_BEGIN = word_set("before pre post after no not do dont never deny prevent allow forbid on pending safe ok until since")
_VERB = re.compile(r"[A-Za-z][A-Za-z:_-]*")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_REMOVING_OPTIONS = word_set(
    """
    --delete --delete-all --destroy --purge --wipe --drop --remove-all --delete-data --delete-topic --nuke --factory-reset
    """
)
MANAGERS = word_set(
    """
    aws awslocal aws2 gcloud gsutil bq az azcopy kubectl oc k9s helm helmfile terraform tofu terragrunt pulumi cdk cdktf serverless sls sam eksctl kops
    copilot eb amplify heroku vercel netlify fly flyctl railway render supabase firebase wrangler doctl linode-cli hcloud scw vultr-cli exo oci ibmcloud
    openstack civo gh glab hub vault bao doppler op bws infisical chamber sops restic borg borgmatic velero rclone mc mcli s3cmd s5cmd kopia duplicity
    tarsnap pgbackrest barman wal-g rabbitmqctl rabbitmqadmin rabbitmq-plugins nats consul nomad etcdctl influx stripe twilio ldcli unleash flipt
    algolia meilisearch datadog-ci dog newrelic pd splunk promtool amtool grafana-cli grr kong deck apigeecli fastly cf circleci buildkite-agent argocd
    argo flux istioctl linkerd cilium minikube kind k3d k3s vagrant multipass lxc incus virsh qm pct VBoxManage vboxmanage prlctl govc databricks snow
    snowsql pscale neonctl turso atlas confluent ccloud kaf rpk pulsar-admin hasura prisma jenkins-cli jenkins-cli.jar jenkins gitlab-runner gitlab glab
    drone tkn crictl ctr buildah skopeo flarectl cloudflared akamai step certbot acme.sh tailscale wg-quick cinder nova neutron glance swift rados rbd
    ceph gluster drbdadm pcs crm kadmin ldapdelete dropdb dropuser dscl az-cli elasticdump curator_cli opensearch-cli mongocli fauna cockroach tiup
    cqlsh nodetool sentry-cli pagerduty flagsmith optimizely split sendgrid mailgun postmark ses plesk whmapi1 pm2 supervisorctl dokku convox kubeadm
    kustomize ipa samba-tool keycloak kcadm.sh crossplane talosctl rancher eas expo appcenter aptible porter massdriver qovery zeet temporal tctl
    airflow dagster prefect wp drush artisan rails rake manage.py django-admin flask alembic flyway liquibase knex sequelize typeorm mix ecto dbmate
    goose migrate sqitch pass gopass cbt doveadm yc aliyun tccli upctl
    """
)


#: Their rows say all; in ``terraform plan -destroy`` nothing is destroyed.
_OWN_GRAMMAR = frozenset({"terraform", "tofu", "terragrunt", "pm2", "supervisorctl", "nodetool"})


def verb(call: Call) -> Finding | None:
    """The first verb among the operands decides; for a program we do not know only an unmistakable one near the front does."""
    if call.name in _OWN_GRAMMAR or (call.name == "rails" and call.operands[:1] in (["destroy"], ["d"])):
        return None
    known = call.name in MANAGERS or call.name.startswith(("kafka-", "gcloud", "jenkins-cli"))
    verbs = _DESTROYS | _REMOVES if known else _DESTROYS
    operands = [word.replace(".", "-") for word in call.operands] if call.name == "govc" else call.operands
    for place, word in enumerate(operands[: 6 if known else 2]):
        if len(word) <= 64 and not _MAKES.isdisjoint(re.split(r"[.:_-]", word)):
            return None
        if len(word) > 64 or not _VERB.fullmatch(word):
            continue
        parts = parts_of(word)
        if not parts or parts[0] in _NAMES_BEGIN:
            continue
        if place and parts[0] in _SPARES_LATER:
            return None
        if parts[0] in LOOKS and not (place == 0 and known and parts[0] in ("list", "label", "history", "set", "top", "comment") and len(call.operands) > 1):
            return _mutated(call)
        told = parts[0] in verbs or (len(parts) > 1 and (parts[-1] in verbs or (known and not verbs.isdisjoint(parts))))
        noun = call.operands[place - 1] if place else ""
        if told and parts[-1] in _EMPTIES and not _REGENERATED.isdisjoint([*parts, noun]) and call.name not in ("gh", "aws", "gcloud", "az", "kubectl"):
            return None
        if told and not _is_value(call, word) and not _then_looks(call, place):
            return Finding(_category(call.name), call.operands[place], "deletes or takes away what it manages")
    if option := next((word for word in call.args if word.partition("=")[0] in _REMOVING_OPTIONS), None):
        return Finding(_category(call.name), option, "deletes or takes away what it manages")
    if known and (action := next((word for word in call.args if _ACTION.search(word)), None)):
        return Finding(_category(call.name), action[:80], "deletes or takes away what it manages")
    return _mutated(call) if known else None


def parts_of(word: str) -> list[str]:
    """``terminate-instances``, ``TerminateInstances`` and ``apps:destroy`` in their parts."""
    parts = [part.lower() for part in re.split(r"[-_:]", _CAMEL.sub("-", word)) if part]
    return list(glued.groups()) if len(parts) == 1 and (glued := _GLUED.fullmatch(parts[0])) else parts


#: A verb and its noun in one: ``deletetable``.
_GLUED = re.compile(
    r"(delete|drop|destroy|purge|remove|clear|wipe|truncate)"
    r"((?:all)?(?:tables?|family|families|rows?|columns?|instances?|clusters?|databases?|db|collections?|index|indexes|buckets?|queues?|topics?|users?|groups?|volumes?|snapshots?|keys?|all))"
)
_ACTION = re.compile(r"""["']?[Aa]ction["']?\s*[:=]\s*["']?DELETE|\bDeleteRequest\b|\|\s*delete\s*$""")
#: A query of GraphQL that asks for a change: ``mutation { dashboardDelete(..) }``.
_MUTATION = re.compile(r"\bmutation\b[^{]*\{\s*(?:\w+\s*:\s*)?(?:delete|destroy|remove|purge|\w+?(?:Delete|Destroy|Purge))\w*\s*[({]")


def _mutated(call: Call) -> Finding | None:
    found = next((found[0] for word in call.args if "mutation" in word and (found := _MUTATION.search(word))), None)
    return Finding(Category.CLOUD, found[:80], "asks for a deletion") if found else None


_VALUED = word_set(
    """
    --name -n --namespace --title --body --message -m --query --filter --description --label --notes --search --context --profile --project --region -c
    --tag --user -u -e --filter-pattern --grep --pattern --reason --comment --text --label-selector --field-selector -l --selector --expression -k --subject
    """
)
#: The last word of a long option that is followed by a value.
_VALUED_BY_NAME = word_set(
    """
    name names message body description text title query filter filters pattern prefix comment reason subject note notes label labels tag tags value values
    expression input payload key keys url format profile region project account namespace context topic bucket group data policy document only event events
    select models exclude task tasks job jobs dag step module modules
    """
)
#: Emptying these costs time at most.
_REGENERATED = word_set("cache caches config route routes view views tmp temp assets compiled event events optimize log logs build")
_EMPTIES = word_set("clear flush prune clean clobber reset")


def _is_value(call: Call, word: str) -> bool:
    place = call.args.index(word) if word in call.args else 0
    option = call.args[place - 1] if place else ""
    return option in _VALUED or (option.startswith("--") and "=" not in option and option.rpartition("-")[2] in _VALUED_BY_NAME)


def _then_looks(call: Call, place: int) -> bool:
    """``delete-policy show``: what is named for a deletion, and only looked at."""
    after = call.operands[place + 1] if place + 1 < len(call.operands) else ""
    return call.name in ("az", "gcloud", "oci", "ibmcloud") and "-" in call.operands[place] and after in LOOKS and call.places[place] == call.places[place + 1]


def _category(name: str) -> Category:
    if name in ("restic", "borg", "velero", "kopia", "rclone", "mc", "s3cmd", "s5cmd", "rabbitmqctl", "rabbitmqadmin", "nats") or name.startswith("kafka-"):
        return Category.DATABASE
    return Category.CLOUD if name in MANAGERS else Category.DELETION


TABLE: dict[str, tuple[Row, ...]] = table(
    Category.CLOUD,
    """
    terraform,tofu,terragrunt destroy | destroys what it manages
    terraform,tofu,terragrunt apply + -auto-approve --auto-approve -destroy --destroy --terragrunt-non-interactive | changes what runs without being asked
    terragrunt destroy-all | destroys what it manages
    railway down | destroys what it manages
    consul leave | takes a node out of the cluster
    aws s3api put-bucket-versioning + Status=Suspended | stops keeping what is overwritten
    atlas schema clean | deletes all tables
    flask db downgrade + base | undoes every migration
    ssh-add + -D -d | forgets keys
    terraform,tofu,terragrunt run-all + destroy apply | changes all that runs at once
    terraform,tofu,terragrunt state rm ! -dry-run | makes it forget what it manages
    terraform,tofu,terragrunt state push + -force | overwrites what it knows
    terraform,tofu,terragrunt workspace delete | deletes a workspace
    terraform,tofu,terragrunt taint | marks a resource to be destroyed
    terraform,tofu,terragrunt force-unlock | takes a lock that others hold
    pulumi up + --yes -y --skip-preview -f | changes what runs without being asked
    pulumi cancel | stops a change half-way
    pulumi stack rm | deletes a stack
    aws s3 rm | deletes objects
    aws s3 rb | deletes a bucket
    aws s3 sync + --delete | deletes what the source does not have
    aws s3 mv + --recursive | moves all objects away
    aws ec2 release-address | gives an address away
    splunk clean | deletes what was indexed
    splunk offline | takes a node out of the cluster
    splunk edit index + -frozenTimePeriodInSecs | changes how long it is kept
    jenkins-cli,jenkins-cli.jar safe-restart | stops or restarts a service that others need
    jenkins-cli,jenkins-cli.jar safe-shutdown | stops or restarts a service that others need
    jenkins-cli,jenkins-cli.jar restart | stops or restarts a service that others need
    jenkins-cli,jenkins-cli.jar shutdown | stops or restarts a service that others need
    jenkins-cli,jenkins-cli.jar quiet-down | stops or restarts a service that others need
    ldcli flags archive | takes a flag away from what asks for it
    unleash-cli features archive | takes a flag away from what asks for it
    stripe subscriptions cancel | ends what customers pay for
    stripe invoices void | ends what customers pay for
    circleci orb unlist | takes back what others depend on
    deck sync | deletes what is not in the file
    deck gateway sync | deletes what is not in the file
    gsutil lifecycle set | changes how long objects are kept
    kafka-reassign-partitions,kafka-reassign-partitions.sh + --execute | moves what is stored
    yarn npm unpublish | takes back what others depend on
    hdfs,hadoop + -rmr -expunge -format -deleteSnapshot | deletes files
    gpg,gpg2 + --delete-secret-keys --delete-secret-key --delete-keys --delete-key --delete-secret-and-public-key | deletes keys
    security delete-keychain | deletes keys
    keytool + -delete | deletes keys
    certutil + -delstore -delkey | deletes certificates or keys
    aws kms schedule-key-deletion | deletes a key, and with it all it encrypted
    aws organizations close-account | closes an account
    aws organizations leave-organization | takes an account away
    aws cloudtrail stop-logging | stops the record of what is done
    aws autoscaling set-desired-capacity + 0 | stops every machine of a group
    aws rds reboot-db-instance + --force-failover | restarts a database
    gsutil rm | deletes objects
    gsutil rb | deletes a bucket
    gsutil rsync + -d ! -n | deletes what the source does not have
    gsutil -m rm | deletes objects
    bq rm | deletes tables
    gcloud projects delete | deletes a project
    az group delete | deletes a group and all that is in it
    azcopy sync + --delete-destination | deletes what the source does not have
    kubectl,oc delete | deletes resources
    kubectl,oc drain | drives everything from a node
    kubectl,oc replace + --force | deletes and makes again
    kubectl,oc apply + --prune | deletes what is not in the file
    helm uninstall | deletes a release
    helm upgrade + --force --reset-values | deletes and makes again
    helm,wrangler rollback | puts an earlier version in the place of what runs
    kubectl,oc cordon | takes a node out of service
    argocd app sync + --prune --force --replace | deletes what is not in the repository
    ansible,ansible-playbook + state=absent ! --check -C --syntax-check | deletes on many machines
    rclone sync ! -n -i --interactive | deletes what the source does not have
    rclone rc + operations/purge operations/delete operations/deletefile operations/rmdir operations/rmdirs operations/cleanup sync/sync | deletes files
    rclone dedupe ! -n | deletes files
    rclone move ! -n | moves files away
    rclone bisync + --resync --force | overwrites files
    mc,mcli mirror + --remove | deletes what the source does not have
    s3cmd,s5cmd sync + --delete-removed --delete ! -n | deletes what the source does not have
    restic rewrite + --forget ! -n | deletes backups
    restic repair + --forget ! -n | deletes backups
    restic repair index | rebuilds the index of backups
    restic migrate | rewrites a repository of backups
    borg recreate ! -n | rewrites backups
    borg break-lock | takes a lock that others hold
    velero uninstall | deletes the backup service
    borg compact | frees what was deleted for good
    etcdctl del | deletes keys
    consul kv delete | deletes keys
    nomad job stop + -purge | stops a job and forgets it
    nomad system gc | deletes what stopped
    vault operator seal | locks everyone out of the secrets
    vault token revoke | revokes a token
    ceph osd out | takes a disk out of the store
    rabbitmqctl stop_app | stops a node
    rabbitmqctl stop | stops a node
    rabbitmqctl set_permissions + "" | takes permissions away
    gh pr close + -d --delete-branch | deletes a branch others have
    gh repo archive | makes a repository read-only
    gh repo edit + --visibility | changes who sees a repository
    gh api + -XDELETE DELETE --method=DELETE | deletes through the interface of GitHub
    glab api + -XDELETE DELETE --method=DELETE | deletes through the interface of GitLab
    glab repo archive | makes a repository read-only
    firebase firestore:delete | deletes documents
    kafka-consumer-groups,kafka-consumer-groups.sh + --reset-offsets --delete --delete-offsets | loses the place of consumers
    kafka-acls,kafka-acls.sh + --remove | takes permissions away
    kafka-topics,kafka-topics.sh + --delete | deletes topics
    kafka-configs,kafka-configs.sh + --delete-config | deletes configuration
    kafka-delete-records,kafka-delete-records.sh | deletes records
    kafka-storage,kafka-storage.sh format | formats the store
    kafka-leader-election,kafka-leader-election.sh + unclean UNCLEAN | loses records
    supervisorctl stop + all | stops every service
    vagrant destroy | destroys a machine
    virsh undefine | deletes a machine
    virsh destroy | destroys a machine
    tailscale logout | leaves the network
    manage.py,django-admin flush | empties the database
    manage.py,django-admin migrate + zero | undoes every migration
    manage.py,django-admin reset_db | deletes the database
    artisan migrate:fresh | deletes all tables
    artisan migrate:refresh | deletes all tables
    artisan db:wipe | deletes all tables
    rails,rake db:drop | deletes the database
    rails,rake db:reset | deletes the database
    rails,rake db:migrate:reset | deletes the database
    rails,rake db:schema:load | deletes all tables
    prisma migrate reset | deletes the database
    prisma db push + --force-reset --accept-data-loss | deletes data
    flyway clean | deletes all tables
    neo4j-admin database load + --overwrite-destination | overwrites what it restores
    neo4j-admin load + --force | overwrites what it restores
    vmkfstools + -U --deletevirtualdisk -w --writezeros | deletes a disk of a machine
    liquibase dropAll | deletes all tables
    liquibase drop-all | deletes all tables
    alembic downgrade + base | undoes every migration
    knex migrate:rollback + --all | undoes every migration
    mix do + ecto.drop ecto.drop, ecto.reset ecto.reset, | deletes the database
    dotnet ef database drop | deletes the database
    mix ecto.drop | deletes the database
    mix ecto.reset | deletes the database
    """,
)


def hadoop(call: Call) -> Finding | None:
    removes = "-rm" in call.args[:3]
    targets = [word for word in call.operands if "/" in word] if removes else []
    kept = next((word for word in targets if not paths.temporary(re.sub(r"hdfs://[^/]*", "", word))), None)
    return Finding(Category.DELETION, "-rm", "deletes files") if removes and (kept or not targets) else None


def salt(call: Call) -> Finding | None:
    found = next((word for word in call.operands if _SALT.fullmatch(word)), None)
    return Finding(Category.SERVICES, found, "stops or takes away what many machines need") if found else None


_SALT = re.compile(
    r"(?:system\.(?:reboot|shutdown|poweroff|halt|init)|service\.(?:stop|disable|mask)|pkg\.(?:remove|purge)|file\.(?:remove|rmdir|truncate)|user\.delete|group\.delete|disk\.wipe|cmd\.wipe)"
)


def _stops_service(word: str) -> bool:
    named = re.search(r"\bname=['\"]?([\w@.-]+)", word)
    return "state=stopped" in word and named is not None and bool(CRITICAL_SERVICE.fullmatch(named[1]))


#: What modules do to disks and machines whatever stands on them.
_MODULE_DESTROYS = re.compile(
    r"\bfstype=\S+.*\bforce=(?:true|yes|1)|\bforce=(?:true|yes|1)\b.*\bfstype=|\b(?:flush|delete)=(?:true|yes)|\bnumber=\d+.*\bstate=(?:absent|present)"
)
_MODULES = re.compile(r"(?:[\w.]*\.)?(?:win_)?(?:reboot|shutdown)")


def ansible(call: Call) -> Finding | None:
    """``-a 'path=/srv state=absent'``; what it runs in a shell is judged as such."""
    absent = next((word for word in call.args if re.search(r"\bstate=(?:absent|shutdown|removed)\b", word) or _stops_service(word)), None)
    module = call.value("-m", "--module-name") or ""
    if _MODULES.fullmatch(module):
        absent = module
    told = absent or next((found[0] for word in call.args if (found := _MODULE_DESTROYS.search(word))), None)
    return Finding(Category.CLOUD, told, "deletes on many machines") if told and not call.flags & {"--check", "-C"} else None


#: Kept for less than a quarter of an hour, or in next to nothing: what is stored is lost, and so is all that comes after.
_KEEPS_LITTLE = re.compile(r"(?:^|,)(?:(?:local\.|delete\.)?retention\.ms=(?:\d{1,5}|[1-8]\d{5})|retention\.bytes=\d{1,4})(?:,|$)")


def kept(call: Call) -> Finding | None:
    """Topics told to keep what they hold for a moment only."""
    if "--describe" in call.args or "--create" in call.args or "create" in call.operands[:2]:
        return None
    found = next(filter(_KEEPS_LITTLE.search, [word.removeprefix("--set=") for word in call.args]), None)
    return Finding(Category.DATABASE, found, "keeps what is stored for a moment only") if found else None


#: Scripts of a project say what they do by their names alone.
_SCRIPT_DESTROYS = word_set("destroy nuke wipe teardown")
_SCRIPT_EMPTIES = word_set("drop purge reset clear delete")
_STORES = word_set("db database data schema prod production infra cluster stack volumes postgres mysql mongo redis")


def named_script(call: Call) -> Finding | None:
    """``npm run db:reset``, ``make destroy``: the name of a task that takes away what is stored."""
    operands = call.operands[1:] if call.operands[:1] in (["run"], ["run-script"]) else call.operands
    if call.flags & {"-n", "--check", "--syntax-check", "--list-tasks"}:
        return None
    for word in operands[:1] if call.name not in ("make", "gmake") else operands:
        parts = set(re.split(r"[-_:.]", word.lower().rpartition("/")[2]))
        if (parts & _SCRIPT_DESTROYS or (parts & _SCRIPT_EMPTIES and parts & _STORES)) and not parts & (_REGENERATED | {"test", "tests", "lint", "plan"}):
            return None if pretends(call) else Finding(Category.DATABASE, word, "is a task named for what it takes away")
    return None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("npm", "yarn", "pnpm", "bun", "make", "gmake", "just", "task", "composer", "mise", "invoke", "nox", "ansible-playbook"), named_script),
    "ansible": ansible,
    "salt": salt,
    **dict.fromkeys(("kafka-configs", "kafka-configs.sh", "kafka-topics", "kafka-topics.sh", "rpk", "kaf", "confluent"), kept),
    **dict.fromkeys(("hdfs", "hadoop"), hadoop),
}
