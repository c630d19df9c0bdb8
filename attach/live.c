#include "attach/live.h"

#include "attach/places.h"
#include "attach/sampler.h"
#include "symbols/known.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static const int64_t WINDOW_NS = 1000000000;
static const int64_t ENDLESS_NS = INT64_C(10) * 365 * 24 * 3600 * 1000000000;

/* The target's CPU clock, and the time at which it was read. */
struct reading {
	uint64_t cpu_ns, time_ns;
};

/* How far the current window is. */
enum stage {
	STAGE_FILLING,
	STAGE_FULL, /* waits for its names */
	STAGE_NAMED, /* waits to be taken */
	STAGE_NEXT, /* waits for the sampling thread */
};

struct live {
	struct attachment *attachment;
	const struct options *options;
	struct places places;
	struct known *known;
	int news_fd, stop_fd;
	bool started, naming_started;
	pthread_t sampling, naming;
	struct sampler_options sampler;
	struct sampler_progress progress;
	struct sampler_result result;
	struct reading start, begin; /* of the run and of the window: the sampling thread's */

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	enum stage stage;
	bool stopping;
	enum live_end end;
	int refusal;
	struct profile *profile; /* in the hands of the sampling thread until it is full, then of the other */
	struct pprof_times times; /* of it */
	uint64_t full_ns; /* since when it is */
	struct profile_view view;
	struct live_facts facts;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void ring(int fd)
{
	eventfd_write(fd, 1);
}

static void silence(int fd)
{
	eventfd_t ignored;
	eventfd_read(fd, &ignored);
}

/* Under the lock. */
static void enter_stage(struct live *live, enum stage stage)
{
	live->stage = stage;
	pthread_cond_broadcast(&live->changed);
}

static void end_with(struct live *live, enum live_end end)
{
	pthread_mutex_lock(&live->lock);
	if (live->end == LIVE_GOES_ON)
		live->end = end;
	pthread_cond_broadcast(&live->changed);
	pthread_mutex_unlock(&live->lock);
	ring(live->news_fd);
}

/* ---- the sampling thread ---- */

static void read_clock(const struct live *live, struct reading *reading)
{
	target_cpu_ns(&live->attachment->target, &reading->cpu_ns);
	reading->time_ns = now_ns(CLOCK_MONOTONIC);
}

static double share(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

static void note_facts(struct live *live, const struct sampler_result *so_far)
{
	struct reading now = live->begin;
	read_clock(live, &now);
	live->facts = (struct live_facts){
		.cpus = share(now.cpu_ns - live->begin.cpu_ns, now.time_ns - live->begin.time_ns),
		.threads = atomic_load_explicit(&live->progress.threads, memory_order_relaxed),
		.stops = so_far->stops,
		.median_ns = histogram_percentile(&so_far->pauses, 50),
		.p99_ns = histogram_percentile(&so_far->pauses, 99),
		.stopped_share = share(so_far->stopped_ns, now.cpu_ns - live->start.cpu_ns)};
}

/* See sampler.h. */
static struct profile *turn(
	void *context, struct profile *full, int64_t length_ns, const struct sampler_result *so_far)
{
	struct live *live = context;
	struct profile *next = NULL;
	pthread_mutex_lock(&live->lock);
	if (live->stage == STAGE_FILLING) {
		live->profile = full;
		live->full_ns = now_ns(CLOCK_MONOTONIC);
		live->times = (struct pprof_times){.time_ns = (int64_t)now_ns(CLOCK_REALTIME) - length_ns,
			.duration_ns = length_ns,
			.period_ns = (int64_t)(1e9 / live->options->rate_hz)};
		note_facts(live, so_far);
		enter_stage(live, STAGE_FULL);
	} else if (live->stage == STAGE_NEXT) {
		next = live->profile;
		enter_stage(live, STAGE_FILLING);
	}
	pthread_mutex_unlock(&live->lock);
	if (next != NULL)
		read_clock(live, &live->begin);
	return next;
}

static void *sample(void *argument)
{
	static const enum live_end ends[] = {[END_DURATION] = LIVE_SIGNAL, /* ten years have passed */
		[END_SIGNAL] = LIVE_SIGNAL,
		[END_TARGET] = LIVE_TARGET_ENDED};
	struct live *live = argument;
	struct attachment *attachment = live->attachment;
	int outcome = sampler_run(attachment->family, attachment->unwinder, live->profile, &live->sampler,
		&live->progress, &live->result);
	live->refusal = errno;
	end_with(live, outcome != 0 ? LIVE_REFUSED : ends[live->result.end]);
	return NULL;
}

/* ---- the naming thread ---- */

static int name_window(struct live *live, struct profile_view *view)
{
	struct error unused;
	struct attachment *attachment = live->attachment;
	/* It may have been written meanwhile. */
	if (attachment->perfmap_fd < 0)
		attachment->perfmap_fd = target_open_perfmap(&attachment->target);
	struct isolated *isolated = isolated_new(&isolated_defaults, live->stop_fd);
	int outcome = -1;
	if (isolated != NULL) {
		isolated_places(isolated, live->places.folders);
		isolated_remember(isolated, live->known);
		outcome = profile_symbolize(live->profile, attachment->space, isolated, attachment->perfmap_fd);
	}
	if (outcome == 0)
		outcome =
			profile_view_open(live->profile, &live->times, attachment->target.name, view, &unused);
	profile_free(live->profile);
	live->profile = NULL;
	isolated_free(isolated);
	known_tidy(live->known);
	return outcome;
}

/* False when it is over. */
static bool await_stage(struct live *live, enum stage stage)
{
	pthread_mutex_lock(&live->lock);
	while (live->stage != stage && !live->stopping && live->end == LIVE_GOES_ON)
		pthread_cond_wait(&live->changed, &live->lock);
	bool over = live->stopping || live->end != LIVE_GOES_ON;
	pthread_mutex_unlock(&live->lock);
	return !over;
}

/* The view is there to be taken. */
static void show_window(struct live *live, const struct profile_view *view)
{
	pthread_mutex_lock(&live->lock);
	live->view = *view;
	live->profile = profile_new(live->sampler.kind);
	enter_stage(live, STAGE_NAMED);
	pthread_mutex_unlock(&live->lock);
	ring(live->news_fd);
}

static void *name(void *argument)
{
	struct live *live = argument;
	while (await_stage(live, STAGE_FULL)) {
		struct profile_view view = {0};
		int outcome = name_window(live, &view);
		show_window(live, &view);
		if (outcome != 0 || live->profile == NULL)
			end_with(live, LIVE_NO_MEMORY);
	}
	return NULL;
}

/* ---- the thread that draws ---- */

struct live *live_new(struct attachment *attachment, const struct options *options, struct error *err)
{
	struct live *live = calloc(1, sizeof *live);
	if (live == NULL) {
		error_set(err, "not enough memory to start");
		return NULL;
	}
	live->attachment = attachment;
	live->options = options;
	pthread_mutex_init(&live->lock, NULL);
	pthread_cond_init(&live->changed, NULL);
	live->known = known_new();
	live->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	live->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (live->known != NULL && live->news_fd >= 0 && live->stop_fd >= 0 &&
		places_open(options, live->stop_fd, &live->places) == 0)
		return live;
	error_set(err, "not enough memory, or descriptors, to start");
	live_free(live);
	return NULL;
}

void live_free(struct live *live)
{
	if (live == NULL)
		return;
	places_close(&live->places);
	known_free(live->known);
	if (live->news_fd >= 0)
		close(live->news_fd);
	if (live->stop_fd >= 0)
		close(live->stop_fd);
	pthread_cond_destroy(&live->changed);
	pthread_mutex_destroy(&live->lock);
	free(live);
}

/* A change of the window's size is for the thread that draws. */
static int start_threads(struct live *live)
{
	sigset_t size, before;
	sigemptyset(&size);
	sigaddset(&size, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &size, &before);
	int failure = pthread_create(&live->naming, NULL, name, live);
	live->naming_started = failure == 0;
	if (failure == 0)
		failure = pthread_create(&live->sampling, NULL, sample, live);
	live->started = failure == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failure;
}

int live_start(struct live *live, enum profile_kind kind, struct error *err)
{
	const struct options *options = live->options;
	live->sampler = (struct sampler_options){.kind = kind,
		.windows = {.window_ns = WINDOW_NS, .turn = turn, .context = live},
		.duration_ns = ENDLESS_NS,
		.rate_hz = options->rate_hz,
		.tids = options->tids,
		.n_tids = options->n_tids,
		.max_overhead = options->max_overhead,
		.max_pause_ns = (uint64_t)options->max_pause_ns,
		.realtime = !options->no_realtime,
		.go_fd = -1};
	live->stage = STAGE_FILLING;
	live->stopping = false;
	live->end = LIVE_GOES_ON;
	silence(live->stop_fd);
	live->profile = profile_new(kind);
	if (live->profile == NULL)
		return error_set(err, "not enough memory to start");
	read_clock(live, &live->start);
	live->begin = live->start;
	int failure = start_threads(live);
	if (failure == 0)
		return 0;
	struct error unused;
	live_stop(live, &unused);
	return error_set(
		err, "cannot start a thread: %s: are processes limited here (ulimit -u)?", strerror(failure));
}

bool live_stop(struct live *live, struct error *warning)
{
	struct target_traces found;
	bool sampled = live->started;
	pthread_mutex_lock(&live->lock);
	live->stopping = true;
	pthread_cond_broadcast(&live->changed);
	pthread_mutex_unlock(&live->lock);
	ring(live->stop_fd);
	if (live->started) {
		/* The sampler takes it as Ctrl-C; if it has ended already, the signal goes with the thread. */
		pthread_kill(live->sampling, SIGINT);
		pthread_join(live->sampling, NULL);
	}
	if (live->naming_started)
		pthread_join(live->naming, NULL);
	live->started = live->naming_started = false;
	profile_free(live->profile);
	live->profile = NULL;
	profile_view_close(&live->view);
	if (!sampled || attachment_is_released(live->attachment, live->result.job_stopped, &found))
		return true;
	attachment_warn(live->attachment, &found, warning);
	return false;
}

int live_fd(const struct live *live)
{
	return live->news_fd;
}

bool live_take(struct live *live, struct profile_view *window, struct live_facts *facts)
{
	silence(live->news_fd);
	pthread_mutex_lock(&live->lock);
	bool is_there = live->stage == STAGE_NAMED && live->view.view != NULL && live->profile != NULL;
	if (is_there) {
		*window = live->view;
		*facts = live->facts;
		live->view = (struct profile_view){0};
		enter_stage(live, STAGE_NEXT);
	}
	pthread_mutex_unlock(&live->lock);
	return is_there;
}

enum live_end live_end(struct live *live)
{
	pthread_mutex_lock(&live->lock);
	enum live_end end = live->end;
	pthread_mutex_unlock(&live->lock);
	return end;
}

int live_refusal(const struct live *live)
{
	return live->refusal;
}

double live_naming_seconds(struct live *live)
{
	pthread_mutex_lock(&live->lock);
	double seconds =
		live->stage == STAGE_FULL ? (double)(now_ns(CLOCK_MONOTONIC) - live->full_ns) / 1e9 : 0;
	pthread_mutex_unlock(&live->lock);
	return seconds;
}
