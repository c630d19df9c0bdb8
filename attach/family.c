#include "attach/family.h"

#include "attach/attachment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void free_member(struct member *member)
{
	if (member->target == &member->own) {
		space_free(member->space);
		target_close(&member->own);
	}
	free(member);
}

struct family *family_new(struct target *target, struct space *space, bool follows)
{
	struct family *family = calloc(1, sizeof *family);
	struct member *first = family != NULL ? family_add(family, target->pid) : NULL;
	if (first == NULL) {
		free(family);
		return NULL;
	}
	family->follows = follows;
	first->target = target;
	first->space = space;
	family_begin(family);
	return family;
}

void family_begin(struct family *family)
{
	struct member *first = family->v[0];
	while (family->n > 1)
		free_member(family->v[--family->n]);
	*first = (struct member){.pid = first->pid, .target = first->target, .space = first->space};
	memcpy(first->name, first->target->name, sizeof first->name);
	family->met = family->most = family->sampled = 1;
	family->refused = family->foreign = family->crowded = 0;
}

void family_free(struct family *family)
{
	if (family == NULL)
		return;
	for (size_t i = 0; i < family->n; i++)
		free_member(family->v[i]);
	free(family->v);
	free(family);
}

struct member *family_find(const struct family *family, pid_t pid)
{
	for (size_t i = family->n; i-- > 0;)
		if (family->v[i]->pid == pid && !family->v[i]->ended)
			return family->v[i];
	return NULL;
}

struct member *family_add(struct family *family, pid_t pid)
{
	struct member *member = calloc(1, sizeof *member);
	if (family->n == family->cap) {
		size_t cap = family->cap > 0 ? family->cap * 2 : 16;
		struct member **larger = realloc(family->v, cap * sizeof *larger);
		if (larger == NULL) {
			free(member);
			return NULL;
		}
		family->v = larger;
		family->cap = cap;
	}
	if (member == NULL)
		return NULL;
	member->pid = pid;
	member->unlabelled = family->met++ >= FAMILY_LABELLED;
	family->v[family->n++] = member;
	return member;
}

void family_lose(struct family *family, struct member *member, int why)
{
	if (member->unseen)
		return;
	if (member->target != NULL)
		family->sampled--;
	member->unseen = true;
	family->foreign += why == ENOEXEC;
	family->crowded += why == EMFILE;
	family->refused += why != ENOEXEC && why != EMFILE;
}

bool family_look_at(struct family *family, struct member *member)
{
	if (member->unseen || member->ended || member->target != NULL)
		return member->target != NULL;
	if (family->sampled >= FAMILY_SAMPLED) {
		family_lose(family, member, EMFILE);
		return false;
	}
	if (target_open_child(member->pid, &member->own) != 0) {
		if (errno != ESRCH)
			family_lose(family, member, errno);
		return false;
	}
	member->own.files = family->v[0]->target->files;
	member->space = attachment_space(&member->own, family->v[0]->space);
	if (member->space == NULL) {
		target_close(&member->own);
		family_lose(family, member, ENOMEM);
		return false;
	}
	member->target = &member->own;
	member->maps_stale = true;
	memcpy(member->name, member->own.name, sizeof member->name);
	if (++family->sampled > family->most)
		family->most = family->sampled;
	return true;
}

bool family_clock(struct member *member)
{
	struct target clock = {.pid = member->pid};
	if (member->target != NULL)
		return target_cpu_ns(member->target, &member->last_cpu_ns) == 0;
	return !member->ended && clock_getcpuclockid(member->pid, &clock.cpu_clock) == 0 &&
	       target_cpu_ns(&clock, &member->last_cpu_ns) == 0;
}

void family_remove(struct family *family, size_t at)
{
	struct member *member = family->v[at];
	if (member->target != NULL && !member->unseen)
		family->sampled--;
	free_member(member);
	/* In order: parents before children. */
	memmove(family->v + at, family->v + at + 1, (family->n - at - 1) * sizeof *family->v);
	family->n--;
}

/* ---- processes that were there before ---- */

struct kin {
	pid_t pid, parent;
	bool is_member;
};

struct kins {
	const struct family *family;
	struct kin *v;
	size_t n, cap;
};

static void note_kin(void *context, pid_t pid, pid_t parent)
{
	struct kins *kins = context;
	if (kins->n == kins->cap) {
		size_t cap = kins->cap > 0 ? kins->cap * 2 : 256;
		struct kin *larger = realloc(kins->v, cap * sizeof *larger);
		if (larger == NULL)
			return;
		kins->v = larger;
		kins->cap = cap;
	}
	kins->v[kins->n++] = (struct kin){pid, parent, family_find(kins->family, pid) != NULL};
}

static int compare_kin(const void *a, const void *b)
{
	const struct kin *x = a, *y = b;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool descends(const struct kins *kins, const struct kin *kin)
{
	/* The list is of no one moment: parents might go in a circle. */
	for (size_t steps = 0; steps < 4096; steps++) {
		struct kin wanted = {.pid = kin->parent};
		kin = bsearch(&wanted, kins->v, kins->n, sizeof wanted, compare_kin);
		if (kin == NULL || kin->is_member)
			return kin != NULL;
	}
	return false;
}

void family_each_stranger(const struct family *family, void (*each)(void *context, pid_t pid), void *context)
{
	struct kins kins = {.family = family};
	if (target_each_process(note_kin, &kins) == 0 && kins.n > 0) {
		qsort(kins.v, kins.n, sizeof *kins.v, compare_kin);
		for (size_t i = 0; i < kins.n; i++)
			if (!kins.v[i].is_member && kins.v[i].pid != getpid() && descends(&kins, &kins.v[i]))
				each(context, kins.v[i].pid);
	}
	free(kins.v);
}

/* ---- after ---- */

void family_inspect(const struct family *family, struct target_traces *found)
{
	*found = (struct target_traces){0};
	for (size_t i = 1; i < family->n; i++) {
		struct target_traces of_one;
		const struct member *member = family->v[i];
		if (member->target == NULL || member->ended)
			continue;
		target_inspect(member->target, &of_one);
		found->threads += of_one.threads;
		found->traced += of_one.traced;
		found->stopped += of_one.stopped;
	}
}
