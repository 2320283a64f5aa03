//! What only a kernel program can be asked, for tools that run packets through the pipeline without sending any: the
//! routing table as the pipeline asks it, and whether a listener of the front is there.
//!
//! A question is the payload of a frame that the program [`crate::abi::program::ASK`] is run with by BPF_PROG_TEST_RUN; the
//! answer stands in its place afterwards. Nothing is ever attached.

use crate::drop_reason::DropReason;
use crate::ethernet::{Addresses, Mac};
use crate::lookup::Route;

/// EtherType of the frame: for local experiments (IEEE 802, section 9.2.4).
pub const ETHER_TYPE: u16 = 0x88b5;

/// What is asked.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`crate::lookup::Lookup::route`] of IPv4.
    Route4 = 1,
    /// [`crate::lookup::Lookup::route`] of IPv6.
    Route6 = 2,
    /// [`crate::lookup::Lookup::front_listens`].
    Listens = 3,
}

/// A question, in words of 32 bits in the order of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// A [`Kind`].
    pub kind: u32,
    /// Index of the device that the packet came in by.
    pub ingress: u32,
    /// 1 if it is asked for tc, where the kernel resolves next hops.
    pub resolves: u32,
    /// IP protocol number of the packet.
    pub protocol: u32,
    /// Its length, IP header included.
    pub length: u32,
    /// Bits of [`crate::abi::frontend_flag`].
    pub flags: u32,
    /// [`crate::hash::flow_hash`] of the packet.
    pub hash: u32,
    /// Source, the raw words; IPv4 in the first.
    pub source: [u32; 4],
    /// Destination likewise.
    pub destination: [u32; 4],
}

/// Words of a question, and of the frame's payload.
pub const WORDS: usize = 15;

impl Question {
    /// As it stands in the frame.
    #[inline(always)]
    pub const fn words(&self) -> [u32; WORDS] {
        let ([a, b, c, d], [e, f, g, h]) = (self.source, self.destination);
        let Self { kind, ingress, resolves, protocol, length, flags, hash, .. } = *self;
        [kind, ingress, resolves, protocol, length, flags, hash, a, b, c, d, e, f, g, h]
    }

    /// From the frame.
    #[inline(always)]
    pub const fn from_words(words: [u32; WORDS]) -> Self {
        let [kind, ingress, resolves, protocol, length, flags, hash, a, b, c, d, e, f, g, h] = words;
        let (source, destination) = ([a, b, c, d], [e, f, g, h]);
        Self { kind, ingress, resolves, protocol, length, flags, hash, source, destination }
    }
}

/// Words of an answer.
pub const ANSWER_WORDS: usize = 7;

/// What the first word of an answer says.
pub mod outcome {
    /// [`crate::lookup::Route::Direct`]: device, both hardware addresses, the largest packet.
    pub const DIRECT: u32 = 1;
    /// [`crate::lookup::Route::Kernel`]: device.
    pub const KERNEL: u32 = 2;
    /// [`crate::lookup::Route::None`]: number of the reason.
    pub const NONE: u32 = 3;
    /// [`crate::lookup::Route::TooBig`]: the largest packet.
    pub const TOO_BIG: u32 = 7;
    /// A listener is there.
    pub const LISTENS: u32 = 4;
    /// None is there.
    pub const SILENT: u32 = 5;
    /// The question was not understood.
    pub const UNKNOWN: u32 = 6;
}

/// A route as an answer.
#[inline(always)]
pub fn answer_of(route: Route) -> [u32; ANSWER_WORDS] {
    let pair = |[a, b, c]: Mac| (u32::from(a) | (u32::from(b) << 16), u32::from(c));
    match route {
        Route::Direct { device, addresses, mtu } => {
            let ((a, b), (c, d)) = (pair(addresses.destination()), pair(addresses.source()));
            [outcome::DIRECT, device, a, b, c, d, mtu]
        }
        Route::Kernel { device } => answer(outcome::KERNEL, device),
        Route::TooBig { mtu } => answer(outcome::TOO_BIG, mtu),
        Route::None(reason) => answer(outcome::NONE, reason as u32),
    }
}

/// An answer with one argument.
#[inline(always)]
pub const fn answer(outcome: u32, argument: u32) -> [u32; ANSWER_WORDS] {
    [outcome, argument, 0, 0, 0, 0, 0]
}

/// The route that an answer tells; `None` if it is none.
pub fn route_of(answer: [u32; ANSWER_WORDS]) -> Option<Route> {
    let mac = |pair: u32, last: u32| [pair as u16, (pair >> 16) as u16, last as u16];
    let [what, first, a, b, c, d, mtu] = answer;
    match what {
        outcome::DIRECT => Some(Route::Direct { device: first, addresses: Addresses::new(mac(a, b), mac(c, d)), mtu }),
        outcome::KERNEL => Some(Route::Kernel { device: first }),
        outcome::TOO_BIG => Some(Route::TooBig { mtu: first }),
        outcome::NONE => DropReason::ALL.iter().find(|&&reason| reason as u32 == first).map(|&why| Route::None(why)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_the_frame() {
        let question = Question {
            kind: Kind::Route4 as u32,
            ingress: 2,
            resolves: 1,
            protocol: 6,
            length: 40,
            flags: 3,
            hash: 4,
            source: [5, 6, 7, 8],
            destination: [9, 10, 11, 12],
        };
        assert_eq!(Question::from_words(question.words()), question);
        let direct = Route::Direct { device: 3, addresses: Addresses::new([1, 0xffff, 3], [0xfffe, 5, 6]), mtu: 9_000 };
        let others = [Route::Kernel { device: 9 }, Route::TooBig { mtu: 1_400 }, Route::None(DropReason::NoRoute)];
        for route in others.into_iter().chain([direct]) {
            assert_eq!(route_of(answer_of(route)), Some(route));
        }
        assert_eq!(route_of(answer(outcome::UNKNOWN, 0)), None);
    }
}
