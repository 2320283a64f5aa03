//! Buffers of nginx. Bodies are streamed here, both ways: what is held of one is a part of some kilobytes, whatever the
//! setting, unless `proxy-request-buffering` is on. Values are checked all the same, and what changes behaviour does.

use super::value::{self, Wrong};
use super::{Annotation, annotation};

const STREAMED: &str = "Bodies are streamed: there is nothing to set.";

const fn size(name: &'static str, default: &'static str, meaning: &'static str) -> Annotation {
    annotation(name, "size", default, meaning, STREAMED, |_, text| value::size(text).map(drop))
}

pub(super) const ANNOTATIONS: &[Annotation] = &[
    size("client-body-buffer-size", "8k", "How much of a request's body is held in memory."),
    annotation(
        "proxy-buffering",
        "on or off",
        "off",
        "Whether answers are read faster than clients take them.",
        "Answers are streamed, and never held back for more.",
        |_, text| value::switch(text).map(drop),
    ),
    size("proxy-buffer-size", "4k", "Longest head of an answer."),
    annotation("proxy-buffers-number", "number", "4", "How many buffers of that size.", STREAMED, |_, text| {
        value::number(text, 1..=1 << 20).map(drop)
    }),
    size("proxy-busy-buffers-size", "8k", "How much of that may be on its way to the client."),
    size("proxy-max-temp-file-size", "1024m", "How much of an answer goes to disk."),
    annotation(
        "proxy-request-buffering",
        "on or off",
        "off",
        "Whether the body of a request is read before it is sent on.",
        "Without it bodies are sent on as they come (the default there is on). What is read first is held in memory: of one \
         body at most 16 MiB, of all 64 MiB for each core; the rest goes on as it comes. Not for gRPC.",
        |asked, text| value::switch(text).map(|on| asked.proxying.gathers = on),
    ),
    annotation(
        "proxy-http-version",
        "1.0 or 1.1",
        "1.1",
        "The version spoken to backends.",
        "Bodies of unknown length go in 1.1 all the same: 1.0 cannot say where they end.",
        |asked, text| {
            asked.proxying.old_http = match text.trim() {
                "1.1" | "" => false,
                "1.0" => true,
                _ => return Err(Wrong::expected("1.0 or 1.1")),
            };
            Ok(())
        },
    ),
];
