"""Write the protos' comments where the gateway's OpenAPI can read them: the runtime's descriptors have none.

python scripts/generate_comments.py           write gateway/openapi/comments.json
python scripts/generate_comments.py --check   exit 1 when it is stale
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
COMMENTS = ROOT / "gateway" / "openapi" / "comments.json"

# Field numbers of descriptor.proto, as SourceCodeInfo.Location.path has them: kind of child → its list.
_FILE = {4: "message_type", 5: "enum_type", 6: "service"}
_MESSAGE = {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"}
_ENUM = {2: "value"}
_SERVICE = {2: "method"}


def rendered() -> str:
    """The file's text: full name → comment, sorted, for every element of our own packages."""
    comments = {name: text for file in _files() for name, text in _comments(file)}
    return json.dumps(comments, ensure_ascii=False, indent=0, sort_keys=True) + "\n"


def _files() -> list[descriptor_pb2.FileDescriptorProto]:
    sources = sorted(str(path) for path in (PROTOS / "messagepipe").rglob("*.proto"))
    well_known = files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "set.binpb"
        arguments = ["protoc", f"-I{PROTOS}", f"-I{PROTOS / 'vendor'}", f"-I{well_known}"]
        if protoc.main([*arguments, "--include_source_info", f"--descriptor_set_out={out}", *sources]) != 0:
            raise SystemExit("protoc refused the protos (its words are above)")
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _name(file, list(location.path))
        if name and location.leading_comments:
            lines = (line.strip() for line in location.leading_comments.splitlines())
            yield name, " ".join(line for line in lines if line)


def _name(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The full name of the element at a path, "" for anything that has none (options, types, ranges)."""
    element: Any = file
    kinds, parts = _FILE, [file.package]
    if not path or len(path) % 2:
        return ""
    for number, index in zip(path[::2], path[1::2], strict=True):
        if number not in kinds:
            return ""
        element = getattr(element, kinds[number])[index]
        parts.append(element.name)
        kinds = _children(element)
    return ".".join(parts)


def _children(element: object) -> dict[int, str]:
    match element:
        case descriptor_pb2.DescriptorProto():
            return _MESSAGE
        case descriptor_pb2.EnumDescriptorProto():
            return _ENUM
        case descriptor_pb2.ServiceDescriptorProto():
            return _SERVICE
        case _:
            return {}


def main() -> int:
    """Run as the docstring of the module says; answers the exit code."""
    parser = argparse.ArgumentParser(description="Write the protos' comments for OpenAPI.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is stale")
    fresh = rendered()
    if parser.parse_args().check:
        stale = not COMMENTS.exists() or COMMENTS.read_text() != fresh
        if stale:
            print(f"stale: {COMMENTS.relative_to(ROOT)}  (run `make protos`)", file=sys.stderr)
        return int(stale)
    COMMENTS.write_text(fresh)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
