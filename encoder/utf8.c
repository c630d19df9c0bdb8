#include "encoder/utf8.h"

#include <stdint.h>

size_t utf8_sequence(const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	static const struct {
		uint8_t first, last, low, high;
		size_t len;
	} forms[] = {{0x01, 0x7f, 0, 0, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		for (size_t k = 1; k < forms[i].len; k++)
			if (s[k] < (k == 1 ? forms[i].low : 0x80) || s[k] > (k == 1 ? forms[i].high : 0xbf))
				return 0;
		return forms[i].len;
	}
	return 0;
}

size_t utf8_visible(const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	if ((s[0] < ' ' && s[0] != '\t') || s[0] == 0x7f || (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f))
		return 0;
	return utf8_sequence(text);
}

void utf8_clean(char *text)
{
	for (size_t i = 0; text[i] != '\0';) {
		size_t len = utf8_sequence(text + i);
		if (len == 0)
			text[i] = '?';
		i += len > 0 ? len : 1;
	}
}

void utf8_printable(char *text)
{
	utf8_clean(text);
	for (unsigned char *p = (unsigned char *)text; *p != '\0'; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
		else if (p[0] == 0xc2 && p[1] < 0xa0) /* U+0080 to U+009F */
			p[0] = p[1] = '?';
	}
}

size_t utf8_cut(const char *text, size_t columns)
{
	size_t len = 0;
	while (text[len] != '\0' && columns-- > 0)
		do
			len++;
		while (((unsigned char)text[len] & 0xc0) == 0x80);
	return len;
}

size_t utf8_columns(const char *text)
{
	size_t columns = 0;
	for (const char *p = text; *p != '\0'; p++)
		columns += ((unsigned char)*p & 0xc0) != 0x80;
	return columns;
}
