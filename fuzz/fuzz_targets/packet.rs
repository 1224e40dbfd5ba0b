//! Socket.IO packets, as the client of the command line reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_client::{Packet, decode, encode_event};

fuzz_target!(|text: &str| {
    let Ok(Packet::Event { id, name, args }) = decode(text) else { return };
    let Ok(values) = args.iter().map(|arg| serde_json::from_str(arg.get())).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let encoded = encode_event(&name, &values, id);
    let Ok(Packet::Event { id: again, name: same, args: kept }) = decode(&encoded[1..]) else {
        panic!("an event of ours is no packet: {encoded}")
    };
    assert_eq!((again, same, kept.len()), (id, name, args.len()));
});
