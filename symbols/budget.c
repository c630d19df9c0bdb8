#include "symbols/budget.h"

bool budget_take(struct budget *budget, uint64_t cost)
{
	bool enough = budget->left >= cost;
	budget->left = enough ? budget->left - cost : 0;
	return enough;
}
