"""`cargo metadata` on stdin to a CycloneDX 1.5 bill of materials (https://cyclonedx.org/docs/1.5/json), checked and written."""

import json
import re
import sys
import tomllib
from pathlib import Path

PROGRAM = "mmtrain"


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums():
    """SHA-256 of each crate's archive, as Cargo.lock has it; crates of this workspace have none."""
    lock = tomllib.loads(Path("Cargo.lock").read_text())
    return {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}


def reached(metadata):
    """Packages that the program needs: id -> whether any of it is linked in, rather than run while building."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    start = next(id for id, package in packages.items() if package["name"] == PROGRAM)
    linked, waiting = {}, [(start, True)]
    while waiting:
        id, is_linked = waiting.pop()
        if linked.get(id, False) or (id in linked and not is_linked):
            continue
        linked[id] = is_linked
        for dependency in nodes[id]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            is_macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if None in kinds:
                waiting.append((dependency["pkg"], is_linked and not is_macro))
            elif "build" in kinds:
                waiting.append((dependency["pkg"], False))
    return start, linked, nodes, packages


def component(package, is_linked, sha256):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if is_linked else "excluded",
        "purl": purl(package),
    }
    if sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if package.get("license"):
        # Old manifests write `MIT/Apache-2.0`, which is no SPDX expression.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package.get("repository"):
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def bill(metadata):
    start, linked, nodes, packages = reached(metadata)
    sums = checksums()
    order = sorted(linked, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    needs = lambda id: sorted({purl(packages[dep["pkg"]]) for dep in nodes[id]["deps"] if dep["pkg"] in linked})
    program = packages[start]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {**component(program, True, None), "type": "application"},
            "properties": [{"name": "cargo:features", "value": ",".join(nodes[start]["features"])}],
        },
        "components": [
            component(packages[id], linked[id], sums.get((packages[id]["name"], packages[id]["version"])))
            for id in order
            if id != start
        ],
        "dependencies": [{"ref": purl(packages[id]), "dependsOn": needs(id)} for id in order],
    }


def faults(bom):
    """What of the shape that CycloneDX asks for is not there."""
    components = [bom["metadata"]["component"], *bom["components"]]
    refs = [each["bom-ref"] for each in components]
    yield from (f"two components are `{ref}`" for ref in sorted({ref for ref in refs if refs.count(ref) > 1}))
    for each in components:
        name = each["bom-ref"]
        if not re.fullmatch(r"pkg:cargo/[A-Za-z0-9_-]+@[0-9]\S*", each["purl"]):
            yield f"`{name}`: `{each['purl']}` is no package URL"
        for digest in each.get("hashes", []):
            if not re.fullmatch(r"[0-9a-f]{64}", digest["content"]):
                yield f"`{name}`: `{digest['content']}` is no SHA-256"
    of_others = [each for each in bom["components"] if not each["name"].startswith(("mmtrain", "cubecl-llvm"))]
    yield from (f"`{each['bom-ref']}` has no checksum" for each in of_others if "hashes" not in each)
    known, described = set(refs), [each["ref"] for each in bom["dependencies"]]
    if sorted(described) != sorted(refs):
        yield "dependencies are not those of the components"
    for each in bom["dependencies"]:
        yield from (f"`{each['ref']}` needs `{need}`, which is not in it" for need in each["dependsOn"] if need not in known)


def main(out):
    bom = bill(json.load(sys.stdin))
    wrong = list(faults(bom))
    if wrong:
        sys.exit("error: " + "\n       ".join(wrong))
    Path(out).write_text(json.dumps(bom, indent=1) + "\n")
    scopes = [each["scope"] for each in bom["components"]]
    unlicensed = [each["name"] for each in bom["components"] if "licenses" not in each]
    print(f"{out}: {len(scopes)} crates, {scopes.count('required')} of them in the program; without a licence field: {unlicensed}")


main(sys.argv[1])
