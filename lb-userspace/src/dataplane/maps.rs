//! Pinned maps, opened with the definitions that the kernel holds, and entries counted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Pod;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, SockMap};

use super::config::Pins;
use super::error::{DataplaneError, map_io};
use super::mapped::{Access, MappedArray};
use super::sys::{self, Batch};

/// Entries per system call.
const BATCH: u32 = 4_096;

/// Opens pinned maps of one pin path.
#[derive(Clone, Debug)]
pub(crate) struct Maps {
    pins: Pins,
}

impl Maps {
    pub(crate) fn new(pins: Pins) -> Self {
        Self { pins }
    }

    pub(crate) fn array<V: Pod>(&self, name: &'static str) -> Result<Array<MapData, V>, DataplaneError> {
        self.open(name)
    }

    pub(crate) fn hash<K: Pod, V: Pod>(&self, name: &'static str) -> Result<HashMap<MapData, K, V>, DataplaneError> {
        self.open(name)
    }

    pub(crate) fn networks<K: Pod>(&self, name: &'static str) -> Result<LpmTrie<MapData, K, u32>, DataplaneError> {
        self.open(name)
    }

    pub(crate) fn per_cpu<V: Pod>(&self, name: &'static str) -> Result<PerCpuArray<MapData, V>, DataplaneError> {
        self.open(name)
    }

    pub(crate) fn sockets(&self, name: &'static str) -> Result<SockMap<MapData>, DataplaneError> {
        self.open(name)
    }

    /// Maps an array into memory, after comparing the size of its elements.
    pub(crate) fn mapped<T: Pod>(&self, name: &'static str, access: Access) -> Result<MappedArray<T>, DataplaneError> {
        let failed = DataplaneError::map(name);
        let data = self.data(name)?;
        let info = data.info().map_err(map_io).map_err(&failed)?;
        let (found, expected) = (info.value_size() as usize, size_of::<T>());
        if found != expected {
            return Err(failed(io::Error::other(format!("values of {found} bytes, expected {expected}"))));
        }
        MappedArray::map(data.fd().as_fd(), info.max_entries(), access).map_err(failed)
    }

    /// The map behind a pin.
    pub(crate) fn data(&self, name: &'static str) -> Result<MapData, DataplaneError> {
        MapData::from_pin(self.pins.map(name)).map_err(map_io).map_err(DataplaneError::map(name))
    }

    fn open<M: TryFrom<Map, Error = MapError>>(&self, name: &'static str) -> Result<M, DataplaneError> {
        let map = Map::from_map_data(self.data(name)?).and_then(M::try_from);
        map.map_err(map_io).map_err(DataplaneError::map(name))
    }
}

/// Walks over a hash map from `from` until its end or until `limit` entries were given to `visit`. Returns where to go
/// on; `None` at the end.
pub(crate) fn walk<K: Pod, V: Pod>(
    map: &MapData,
    from: Option<u32>,
    limit: usize,
    mut visit: impl FnMut(&[(K, V)]) -> io::Result<()>,
) -> io::Result<Option<u32>> {
    let mut cursor = from;
    let mut seen = 0;
    loop {
        let Batch { entries, next } = sys::lookup_batch(map.fd().as_fd(), cursor, BATCH)?;
        seen += entries.len();
        visit(&entries)?;
        cursor = next;
        if cursor.is_none() || seen >= limit {
            return Ok(cursor);
        }
    }
}

/// How many entries a hash map holds, whatever they are: one system call per 4,096.
pub(crate) fn count(map: &MapData) -> io::Result<u64> {
    let info = map.info().map_err(map_io)?;
    let sizes = (info.key_size() as usize, info.value_size() as usize);
    let mut entries = 0;
    walk_raw(map.fd().as_fd(), sizes, |keys, _| {
        entries += (keys.len() / sizes.0.max(1)) as u64;
        Ok(())
    })?;
    Ok(entries)
}

/// Gives all keys and values of a map to `visit`, batch by batch, as bytes of these sizes ([`sys::lookup_raw`]).
pub(crate) fn walk_raw(
    map: BorrowedFd<'_>,
    sizes: (usize, usize),
    mut visit: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut cursor: Option<Vec<u8>> = None;
    loop {
        let batch = sys::lookup_raw(map, cursor.as_deref(), BATCH, sizes)?;
        visit(&batch.keys, &batch.values)?;
        cursor = batch.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
