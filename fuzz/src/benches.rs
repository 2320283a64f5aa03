//! The benches of the packet fixtures: shared as source, since they are no part of a library.

#[path = "../../tests/datapath/fixture.rs"]
pub(crate) mod fixture;
#[path = "../../tests/datapath/kernel.rs"]
pub(crate) mod kernel;
#[path = "../../tests/datapath/loaded.rs"]
pub(crate) mod loaded;
#[path = "../../tests/datapath/packet.rs"]
pub(crate) mod packet;
#[path = "../../tests/datapath/packet6.rs"]
pub(crate) mod packet6;
#[path = "../../tests/datapath/world.rs"]
pub(crate) mod world;
#[path = "../../tests/datapath/world6.rs"]
pub(crate) mod world6;
