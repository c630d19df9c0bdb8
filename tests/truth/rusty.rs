// Closures, iterators, formatting, trait objects, and, without an argument, a caught panic, for ever.
use std::hint::black_box;

extern "C" {
    fn write(fd: i32, bytes: *const u8, len: usize) -> isize;
}

trait Shape {
    fn area(&self) -> u64;
}

struct Square(u64);

impl Shape for Square {
    #[inline(never)]
    fn area(&self) -> u64 {
        black_box(self.0 * self.0)
    }
}

#[inline(never)]
fn deep(n: u64) -> u64 {
    if n == 0 { black_box(1) } else { deep(n - 1) + black_box(n) }
}

#[inline(never)]
fn panics(n: u64) -> u64 {
    if black_box(n) > 0 { std::panic::resume_unwind(Box::new(n)) }
    n
}

fn main() {
    unsafe { write(-1, std::ptr::null(), 0) };
    let calm = std::env::args().len() > 1;
    let mut n = 1u64;
    loop {
        let mut v: Vec<u64> = (0..9).map(|i| i * n % 7).collect();
        v.sort_by(|a, b| b.cmp(a));
        let text = format!("{} {:?}", n, &v[..3]);
        let shape: Box<dyn Shape> = Box::new(Square(n));
        let caught = !calm && std::panic::catch_unwind(|| panics(n)).is_err();
        black_box((deep(n % 5), text.len(), shape.area(), caught));
        n += 1;
    }
}
