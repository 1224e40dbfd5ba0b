//! The decoding of a program's output: however it is cut, the text is that of all bytes at once.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/services/programs/decode.rs"]
mod decode;

fuzz_target!(|data: &[u8]| {
    let Some((&size, bytes)) = data.split_first() else { return };
    let mut decoder = decode::Decoder::default();
    let mut text: String = bytes.chunks(usize::from(size).max(1)).map(|chunk| decoder.push(chunk)).collect();
    text.push_str(&decoder.finish());
    assert_eq!(text, String::from_utf8_lossy(bytes));
    let limit = usize::from(size).max(4);
    let pieces = decode::pieces(&text, limit);
    assert_eq!(pieces.concat(), text);
    assert!(pieces.iter().all(|piece| piece.len() <= limit && !piece.is_empty()));
    assert!(text.starts_with(decode::shortened(&text, limit)));
});
