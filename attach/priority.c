#include "attach/priority.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void wake_up_in_time(void)
{
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
}

void priority_begin(struct priority *priority, bool may_be_realtime)
{
	*priority = (struct priority){.realtime = may_be_realtime};
	setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
	wake_up_in_time();
	if (sched_getaffinity(0, sizeof priority->all, &priority->all) != 0)
		CPU_ZERO(&priority->all);
	priority->ours = priority->all;
}

void priority_raise(struct priority *priority)
{
	struct sched_param lowest = {.sched_priority = 1};
	if (!priority->realtime || priority->raised)
		return;
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) != 0)
		priority->realtime = false; /* not privileged: it will not be later either */
	else
		priority->raised = true;
}

void priority_lower(struct priority *priority)
{
	struct sched_param none = {.sched_priority = 0};
	if (priority->raised) {
		sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none); /* the nice value is kept */
		/* And the slack is not: it is the default's 50 us again (__setscheduler_params() in
		 * kernel/sched/syscalls.c). */
		wake_up_in_time();
	}
	priority->raised = false;
}

bool priority_avoid(struct priority *priority, const cpu_set_t *theirs, uint64_t turn)
{
	cpu_set_t ours;
	CPU_AND(&ours, &priority->all, theirs);
	int shared = CPU_COUNT(&ours);
	CPU_XOR(&ours, &priority->all, &ours);
	bool apart = CPU_COUNT(&ours) > 0;
	if (!apart && shared > 0) {
		int nth = (int)(turn % (uint64_t)shared);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &priority->all) && nth-- == 0)
				CPU_SET(cpu, &ours);
	}
	if (!CPU_EQUAL(&ours, &priority->ours) && sched_setaffinity(0, sizeof ours, &ours) == 0)
		priority->ours = ours;
	return apart;
}
