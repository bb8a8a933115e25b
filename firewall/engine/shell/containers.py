"""Rules for containers and images on one machine: docker and its cousins."""

from __future__ import annotations

import itertools
import re

from firewall.engine.shell.call import Call, Row, Rule, table
from firewall.engine.shell.types import FED, Category, Command, Finding


def container_all(call: Call) -> Finding | None:
    """``docker rm -f $(docker ps -aq)`` and the like: everything there is."""
    operands = call.operands[1:] if call.operands[:1] in (["container"], ["image"], ["volume"]) else call.operands
    if operands[:1] and operands[0] in ("rm", "rmi", "stop", "kill") and any(word.startswith(("$(", FED)) for word in operands[1:]):
        if call.operands[0] != "volume" and any(
            map(_picks_tests, [*call.before, *(command for script in call.inner for pipeline in script for command in pipeline)])
        ):
            return None
        return Finding(Category.CONTAINERS, operands[0], "stops or deletes every one there is")
    if call.operands[:1] == ["compose"]:
        composed = Call("docker-compose", call.args[call.args.index("compose") + 1 :])
        return next(filter(None, (row.finding(composed) for row in COMPOSE["docker-compose"])), None)
    return next(filter(None, (row.finding(call) for row in CONTAINERS["docker"])), None)


#: What a container is marked with that a run of tests has left; images that nothing is named after.
_TESTED = re.compile(r"(?i)(?:label|name|ancestor)=.*(?:\b|_)(?:tests?|testing|ephemeral|e2e|ci|tmp|temp|scratch|sandbox)(?:\b|_)|dangling=(?:true|1)")


def _picks_tests(command: Command) -> bool:
    return command.words[:1] in (["docker"], ["podman"], ["nerdctl"]) and any(map(_TESTED.search, command.words))


def machine_reached(call: Call) -> Finding | None:
    """``docker run -v /:/host``, ``nsenter -t 1``: out of a container, into the machine, whatever is run there."""
    if call.name == "nsenter" and call.value("-t", "--target") == "1":
        return Finding(Category.PERMISSIONS, call.name, "enters the machine that containers are kept from")
    if call.name in _CONTAINER_PROGRAMS and {"run", "create"} & set(call.operands[:3]):
        for option, value in itertools.pairwise(call.args):
            if option in ("-v", "--volume") and re.match(r"/:(?!.*:ro\b)", value):
                return Finding(Category.PERMISSIONS, value, "gives a container the whole machine")
    return None


_CONTAINER_PROGRAMS = ("docker", "podman", "nerdctl")

CONTAINERS: dict[str, tuple[Row, ...]] = table(
    Category.CONTAINERS,
    """
    docker system prune | deletes containers, networks and images
    docker system reset | deletes containers, images and volumes
    docker volume rm | deletes a volume with its data
    docker volume remove | deletes a volume with its data
    docker volume prune | deletes volumes with their data
    docker container prune | deletes stopped containers
    docker image prune + -a --all | deletes images
    docker image rm + -f --force | deletes images by force
    docker network prune | deletes networks
    docker network rm | deletes a network
    docker builder prune + -a --all | deletes all that was built
    docker buildx prune + -a --all | deletes all that was built
    docker rm + -f --force -v --volumes | deletes running containers, or their data
    docker container rm + -f --force -v --volumes | deletes running containers, or their data
    docker kube down + -f --force | deletes volumes with their data
    docker rmi + -f --force -a --all | deletes images by force
    docker stack rm | deletes a stack of services
    docker service rm | deletes a service
    docker secret rm | deletes a secret
    docker config rm | deletes a configuration
    docker context rm | deletes a context
    docker swarm leave + -f --force | leaves the cluster
    docker node rm | takes a node out of the cluster
    docker plugin rm | deletes a plugin
    docker pod rm + -f -a --force --all | deletes containers
    docker machine rm | deletes a machine
    docker machine reset | deletes a machine
    """,
)
COMPOSE = table(
    Category.CONTAINERS,
    """
    docker-compose,podman-compose down + -v --volumes --rmi | deletes volumes with their data
    docker-compose,podman-compose rm + -v -f --force | deletes containers, or their data
    """,
)

RULES: dict[str, Rule] = dict.fromkeys(_CONTAINER_PROGRAMS, container_all)
