// Exceptions through frames with destructors, lambdas, virtual calls and templates of the standard library, for
// ever.
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

static volatile int sink;

struct guard {
	~guard()
	{
		sink = sink + 1;
	}
};

APART static int thrower(int n)
{
	guard g;
	if (n == 0)
		throw std::runtime_error("x");
	return thrower(n - 1) + sink;
}

APART static int caught(int n)
{
	try {
		return thrower(n);
	} catch (const std::exception &e) {
		return (int)e.what()[0];
	}
}

APART static int rethrown(int n)
{
	try {
		try {
			return thrower(n);
		} catch (...) {
			guard g;
			throw;
		}
	} catch (const std::runtime_error &) {
		return n;
	}
}

APART static int sorted(int n)
{
	std::vector<std::string> v;
	for (int i = 0; i < 9; i++)
		v.push_back(std::to_string(i * n % 7));
	std::sort(v.begin(), v.end(),
		[&](const std::string &a, const std::string &b) { return a < b || (sink = sink + n) < 0; });
	return (int)v[3].size();
}

APART static int lambdas(int n)
{
	std::function<int(int)> f = [&](int i) { return i == 0 ? n : f(i - 1) + sink; };
	return f(n);
}

struct shape {
	virtual ~shape()
	{
	}
	virtual int area() const
	{
		return 1;
	}
};

struct square : shape {
	int area() const override
	{
		return shape::area() + sink;
	}
};

APART static int virtuals(const shape &s)
{
	return s.area();
}

int main(int argc, char **)
{
	if (write(-1, "", 0) == 0)
		return 1;
	bool throws_only = argc > 1;
	for (int n = 1;; n = n % 3 + 1) {
		sink = sink + caught(n) + rethrown(n);
		if (!throws_only)
			sink = sink + sorted(n) + lambdas(n) + virtuals(square());
	}
}
