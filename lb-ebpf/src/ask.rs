//! Answers questions about what only a kernel program sees; run by test runs, never attached.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use lb_common::addr::{Addr4, Addr6, V4, V6};
use lb_common::ethernet;
use lb_common::lookup::Lookup;
use lb_common::packet::Packet;
use lb_common::question::{self, ANSWER_WORDS, Kind, Question, WORDS, answer_of, outcome};

use crate::skb_packet::SkbPacket;
use crate::tables::{Kernel, Routed};

/// The question stands in the payload of the frame, and the answer in its place afterwards.
#[classifier]
pub fn weir_ask(ctx: TcContext) -> i32 {
    let mut packet = SkbPacket(ctx.skb.skb);
    let Some(words) = packet.words::<WORDS>(ethernet::HEADER) else { return TC_ACT_SHOT };
    let answer = answer(ctx.skb.skb, &Question::from_words(words));
    match packet.set_words(ethernet::HEADER, answer) {
        Some(()) => TC_ACT_UNSPEC,
        None => TC_ACT_SHOT,
    }
}

#[inline(always)]
fn answer(skb: *mut __sk_buff, question: &Question) -> [u32; ANSWER_WORDS] {
    let ([a, ..], [b, ..]) = (question.source, question.destination);
    if question.kind == Kind::Route4 as u32 {
        return route::<V4>(skb, question, address4(a), address4(b));
    }
    if question.kind == Kind::Route6 as u32 {
        return route::<V6>(skb, question, address6(question.source), address6(question.destination));
    }
    if question.kind == Kind::Listens as u32 {
        let kernel = Kernel::<true> { ctx: skb.cast(), ingress: question.ingress };
        let listens = Lookup::<V4>::front_listens(&kernel, question.flags, question.hash);
        return question::answer(if listens { outcome::LISTENS } else { outcome::SILENT }, 0);
    }
    question::answer(outcome::UNKNOWN, 0)
}

#[inline(always)]
fn route<F: Routed>(
    skb: *mut __sk_buff,
    question: &Question,
    source: F::Addr,
    destination: F::Addr,
) -> [u32; ANSWER_WORDS] {
    let (protocol, length) = (question.protocol as u8, question.length as usize);
    let route = if question.resolves != 0 {
        let kernel = Kernel::<true> { ctx: skb.cast(), ingress: question.ingress };
        Lookup::<F>::route(&kernel, source, destination, protocol, length)
    } else {
        let kernel = Kernel::<false> { ctx: skb.cast(), ingress: question.ingress };
        Lookup::<F>::route(&kernel, source, destination, protocol, length)
    };
    answer_of(route)
}

#[inline(always)]
fn address4(word: u32) -> Addr4 {
    Addr4::from_bytes(word.to_ne_bytes())
}

#[inline(always)]
fn address6([a, b, c, d]: [u32; 4]) -> Addr6 {
    let long = |first: u32, second: u32| {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    Addr6::from_raw([long(a, b), long(c, d)])
}
