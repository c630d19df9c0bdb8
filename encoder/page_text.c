#include "encoder/page_text.h"

/* gcc 12 and clang 14 know no #embed; all assemblers know .incbin. Paths are from the top of the tree, where
 * make runs the compiler. */
/* NOLINTBEGIN(hicpp-no-assembler) */
__asm__(".section .rodata\n"
	".global page_html, page_css, page_js\n"
	"page_html: .incbin \"encoder/page/page.html\"\n.byte 0\n"
	"page_css: .incbin \"encoder/page/page.css\"\n.byte 0\n"
	"page_js: .incbin \"encoder/page/page.js\"\n.byte 0\n"
	".previous\n");
/* NOLINTEND(hicpp-no-assembler) */
