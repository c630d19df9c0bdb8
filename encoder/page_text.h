/* The page's sources (encoder/page/), as they are in the program. Each ends with a 0. */
#ifndef ENCODER_PAGE_TEXT_H
#define ENCODER_PAGE_TEXT_H

extern const char page_html[], page_css[], page_js[];

#endif
