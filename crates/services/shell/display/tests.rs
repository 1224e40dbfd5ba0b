//! What a display keeps over a copy, a save, a size and rubbish.
//!
//! Guarantees: two displays are compared by all that they show, and by what they make of the same more.
//! It is not a comparison with another emulator: the clients' tests have one.

use proptest::prelude::*;

use super::*;

fn after(cols: u16, rows: u16, text: &str) -> Display {
    let mut display = Display::new(cols, rows);
    display.write(text);
    display
}

fn saved_and_restored(display: &Display) -> Display {
    let json = serde_json::to_string(display).expect("serialises");
    serde_json::from_str(&json).expect("restores")
}

/// What an editor does: another screen, a status line of another colour, modes, a title, a region.
const EDITOR: &str = "$ vi x\r\n\u{1b}[?1049h\u{1b}[?1h\u{1b}=\u{1b}[?2004h\u{1b}[?1002h\u{1b}[?1006h\u{1b}]2;x - VIM\u{7}\u{1b}[1;24r\u{1b}[2J\
    \u{1b}[H\u{1b}[33m  1 \u{1b}[mone\u{1b}[2;1H\u{1b}[94m~\u{1b}[m\u{1b}[24;1H\u{1b}[7m-- INSERT --\u{1b}[m\u{1b}[1;8H\u{1b}[2 q";

#[test]
fn an_editor_is_shown_with_its_modes_and_what_was_before_it_comes_back() {
    let mut display = saved_and_restored(&after(80, 24, EDITOR));
    let shown = display.shown();
    assert_eq!(display.title(), Some("x - VIM"));
    assert_eq!(shown.cursor, Cursor { x: 7, y: 0, visible: true });
    for mode in ["?1002h", "?1006h", "?2004h", "?66h", "?1h", "?1047h", "[2 q", "-- INSERT --"] {
        assert!(shown.screen.contains(mode), "{mode} in {:?}", shown.screen);
    }
    display.write("\u{1b}[?1049l");
    assert!(display.shown().screen.contains("$ vi x"));
    assert!(!display.shown().screen.contains("INSERT"));
}

#[test]
fn a_copy_goes_its_own_way_and_the_original_stays() {
    let original = after(20, 3, "one");
    let before = original.shown();
    let mut copy = original.clone();
    copy.write(" two");
    copy.resize(10, 2);
    assert_eq!(original.shown(), before);
    assert_eq!((copy.size(), copy.shown().cursor.x), ((10, 2), 7));
}

#[test]
fn a_display_that_is_settled_shows_the_same() {
    let mut display = after(20, 3, "one\r\ntwo\r\nthree\r\nfour\u{1b}[31");
    let before = display.shown();
    display.settle();
    assert_eq!(display.shown(), before);
}

#[test]
fn lines_that_left_and_the_screen_draw_the_whole_on_an_empty_terminal() {
    let text: String = (0..50).map(|number| format!("line {number} of a text that wraps\r\n")).collect();
    let shown = after(12, 5, &text).shown();
    let mut again = Display::new(12, 5);
    for line in &shown.scrollback {
        again.write(line);
        again.write("\r\n");
    }
    again.write(&"\r\n".repeat(4));
    again.write(&shown.screen);
    // The line that goes on on the screen was ended, which is all that is lost.
    assert_eq!(again.shown(), Shown { wrapped: false, ..shown });
}

#[test]
fn a_program_cannot_make_the_terminal_larger() {
    let display = after(20, 3, "\u{1b}[8;60000;60000tx");
    assert_eq!(display.size(), (20, 3));
}

fn rubbish() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,4}",
        Just("\r\n".to_owned()),
        Just("界🦀".to_owned()),
        prop::sample::select(vec![
            "\u{1b}[?1049h",
            "\u{1b}[?1049l",
            "\u{1b}[?1047h",
            "\u{1b}7",
            "\u{1b}8",
            "\u{1b}[2J",
            "\u{1b}[3J",
            "\u{1b}[r",
            "\u{1b}[?6h",
            "\u{1b}[4h",
            "\u{1b}[?7l",
            "\u{1b}(0",
            "\u{1b}[5S",
            "\u{1b}M",
            "\u{1b}c",
            "\u{1b}[2;3r",
            "\u{9b}",
            "\u{1b}]2;t",
            "\u{7}",
            "\u{1b}P",
            "\u{1b}[?2004h",
            "\u{18}",
        ])
        .prop_map(str::to_owned),
        (0u16..40, 0u16..40, prop::sample::select(vec!['H', 'm', 'A', 'L', 'M', 'P', 'X', '@', 'b', 'd', 'r', 't']))
            .prop_map(|(one, two, last)| format!("\u{1b}[{one};{two}{last}")),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_saved_display_goes_on_as_it_would_have_itself(
        cols in 1u16..40, rows in 1u16..12, first in rubbish(), second in rubbish(), size in (1u16..40, 1u16..12),
    ) {
        let mut straight = after(cols, rows, &first);
        let mut saved = saved_and_restored(&straight);
        prop_assert_eq!(saved.shown(), straight.shown());
        for display in [&mut straight, &mut saved] {
            display.write(&second);
            display.resize(size.0, size.1);
            display.write(&first);
        }
        prop_assert_eq!(saved.shown(), straight.shown());
    }

    #[test]
    fn however_the_output_is_cut_the_display_is_the_same(text in rubbish(), cut in 0usize..200) {
        let cut = text.floor_char_boundary(cut);
        let mut parts = after(20, 6, &text[..cut]);
        parts.write(&text[cut..]);
        prop_assert_eq!(parts.shown(), after(20, 6, &text).shown());
    }
}
