// Inlined functions, templates, namespaces and methods, all in one physical function, geo::Grid<T>::relax.
#include "target.h"

namespace geo
{
namespace detail
{
template <typename T> [[gnu::always_inline]] inline T blend(T a, T b)
{
	return (a ^ (b >> 13)) * T(0x9e3779b97f4a7c15) + b; // line: blend
}

template <typename T> [[gnu::always_inline]] inline T smooth(T x, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++)
		x = blend<T>(x, x + i); // line: smooth
	return x;
}
} // namespace detail

template <typename T> class Grid
{
      public:
	explicit Grid(T seed) : value(seed)
	{
	}
	[[gnu::noinline]] T relax(unsigned steps)
	{
		value = detail::smooth<T>(value, steps); // line: relax
		return value;
	}

      private:
	T value;
};

struct Base {
	virtual ~Base() = default;
	virtual uint64_t step() = 0;
};

struct Solver final : Base {
	Grid<unsigned long> grid{42};
	[[gnu::noinline]] uint64_t step() override
	{
		return grid.relax(200000) ^ 5; // line: step
	}
};
} // namespace geo

int main(int argc, char **)
{
	geo::Solver solver;
	geo::Base *base = argc > 0 ? &solver : nullptr;
	volatile uint64_t sink = 0;
	target_init();
	target_ready();
	for (;;)
		sink = sink + base->step(); // line: main
}
