#include "attach/priority.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void priority_begin(struct priority *priority, bool may_be_realtime)
{
	*priority = (struct priority){.realtime = may_be_realtime, .cpu = -1};
	setpriority(PRIO_PROCESS, (id_t)gettid(), -20);
	prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
	if (sched_getaffinity(0, sizeof priority->all, &priority->all) != 0)
		CPU_ZERO(&priority->all);
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
	if (priority->raised)
		sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none); /* the nice value is kept */
	priority->raised = false;
}

void priority_follow(struct priority *priority, int cpu)
{
	cpu_set_t one;
	if (cpu == priority->cpu || CPU_COUNT(&priority->all) == 0)
		return;
	if (cpu >= 0 && (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &priority->all)))
		cpu = -1;
	CPU_ZERO(&one);
	if (cpu >= 0)
		CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, cpu >= 0 ? &one : &priority->all) == 0)
		priority->cpu = cpu;
}
